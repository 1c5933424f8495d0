# The paper's ablation and compression tables: a student per row, trained alike, then tracked with. `make ablation` in the
# top folder; rows that are done, steps and tracks are kept, so that the same command goes on after a stop.
OUT := build/ablation
DATA ?= ../shared/data
PYTHON ?= .venv/bin/python

FLAGS_fidelity := --loss fidelity
FLAGS_track-high := --loss tracking --levels high
FLAGS_track := --loss tracking
FLAGS_both := --loss fidelity,tracking
FLAGS_both-16 := $(FLAGS_both) --ratio 16
FLAGS_both-32 := $(FLAGS_both) --ratio 32
FLAGS_both-96 := $(FLAGS_both) --ratio 96
ROWS := fidelity track-high track both both-16 both-32 both-96

# One thread each, and memory that goes back to the allocator, not to the system: twice as fast together (docs/training.md).
export OMP_NUM_THREADS = 1
export MALLOC_MMAP_MAX_ = 0
export MALLOC_TRIM_THRESHOLD_ = 4000000000

$(OUT)/table.md: $(ROWS:%=$(OUT)/%/done)
	$(PYTHON) -m benchmarks.ope --root $(DATA)/sequences --splits dev report --starts 3 --presets feco fdeepstrcf \
	  $(foreach row,$(ROWS),--bundle $(row)=torch:$(OUT)/$(row)/student.safetensors) \
	  --dtypes float32 --any-revision --no-plots --jobs 2 --out $(OUT)

$(OUT)/%/done:
	$(PYTHON) -m export distill --config benchmarks/training/ablation.toml $(FLAGS_$*) --out $(OUT)/$*
	touch $@

# The first one asks the teacher, the others find its answers.
$(filter $(OUT)/both%,$(ROWS:%=$(OUT)/%/done)): | $(OUT)/fidelity/done
