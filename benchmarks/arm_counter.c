// A qemu plugin that counts instructions into a file, where the counted program can read them.
//
// The first 8 bytes of `counter=PATH` (made by the caller, one page) are mapped here and, by whoever wants to know,
// in the emulated program: a read there costs a load. Every block of code adds its length when it starts, so a
// reader's own block is counted in. One thread only: the additions are not atomic.
//
// For qemu-user 7.2 and its plugin interface 1. Debian ships no header; these are the declarations in use.
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t,
                                           void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, enum qemu_plugin_op, void *, uint64_t);

int qemu_plugin_version = 1;

static uint64_t *executed;

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block) {
  (void)id;
  qemu_plugin_register_vcpu_tb_exec_inline(block, QEMU_PLUGIN_INLINE_ADD_U64, executed,
                                           qemu_plugin_tb_n_insns(block));
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int count, char **arguments) {
  (void)info;
  if (count != 1 || strncmp(arguments[0], "counter=", 8) != 0) {
    fputs("arm_counter: counter=PATH is missing\n", stderr);
    return 1;
  }
  const int file = open(arguments[0] + 8, O_RDWR);
  void *page = file < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (page == MAP_FAILED) {
    perror("arm_counter");
    return 1;
  }
  executed = page;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  return 0;
}
