# The paper's ablation and compression tables: a student per row, trained alike, then tracked with. `make ablation` in the
# top folder; rows that are done, steps and tracks are kept, so that the same command goes on after a stop. Without a GPU,
# `make ablation FLAGS="--set run.cache=build/teacher-features --set run.cache_pairs=8000 --set run.workers=0"` asks the
# teacher about 8,000 pairs only and repeats them.
OUT := build/ablation
DATA ?= ../shared/data
PYTHON ?= .venv/bin/python
FLAGS ?=

FLAGS_fidelity := --loss fidelity
FLAGS_track-high := --loss tracking --levels high
FLAGS_track := --loss tracking
FLAGS_both := --loss fidelity,tracking
FLAGS_location := --loss location
FLAGS_all := --loss fidelity,tracking,location
FLAGS_both-16 := $(FLAGS_both) --ratio 16
FLAGS_both-32 := $(FLAGS_both) --ratio 32
FLAGS_both-96 := $(FLAGS_both) --ratio 96
ROWS := fidelity track-high track both location all both-16 both-32 both-96
STARTS ?= 1

# One thread each, and memory that goes back to the allocator, not to the system: twice as fast together (docs/training.md).
export OMP_NUM_THREADS = 1
export MALLOC_MMAP_MAX_ = 0
export MALLOC_TRIM_THRESHOLD_ = 4000000000

$(OUT)/table.md: $(ROWS:%=$(OUT)/%/done)
	$(PYTHON) -m benchmarks.ope --root $(DATA)/sequences --splits dev report --starts $(STARTS) --presets feco fdeepstrcf \
	  $(foreach row,$(ROWS),--bundle $(row)=torch:$(OUT)/$(row)/student.safetensors) \
	  --dtypes float32 --any-revision --no-plots --jobs 2 --out $(OUT)

$(OUT)/%/done:
	$(PYTHON) -m export distill --config benchmarks/training/ablation.toml $(FLAGS_$*) $(FLAGS) --out $(OUT)/$*
	touch $@

# The first one asks the teacher, the others find its answers.
$(filter $(OUT)/both% $(OUT)/all/%,$(ROWS:%=$(OUT)/%/done)): | $(OUT)/fidelity/done
