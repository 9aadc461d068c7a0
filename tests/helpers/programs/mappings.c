/* One mapping of every kind. usage: mappings DIRECTORY
   Data files go into DIRECTORY. After `ready` come lines `NAME ADDRESS LENGTH` and `end`. */
#include "victim.h"
#include <alloca.h>
#include <sys/ipc.h>
#include <sys/shm.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

static char table[16384];
static uint64_t modified_data[2048] = {1, 2, 3};
static uint64_t modified_bss[2048];

static void note(const char *name, const void *p, size_t length)
{
    size_t used = strlen(table);
    snprintf(table + used, sizeof table - used, "%s %#lx %zu\n", name, (unsigned long)p, length);
}

static int data_file(const char *directory, const char *name, size_t length, uint64_t seed)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    char *content = malloc(length);
    if (fd < 0 || !content)
        die(path);
    fill(content, length, seed);
    if (write(fd, content, length) != (ssize_t)length)
        die("write");
    free(content);
    return fd;
}

static void anonymous_kinds(void)
{
    char *p = anonymous(3 * MIB);
    fill(p, 3 * MIB, 1);
    note("filled", p, 3 * MIB);

    p = anonymous(256 * MIB);
    for (size_t i = 0; i < 256; i++)
        fill(p + i * MIB, PAGE, 1000 + i);
    note("sparse", p, 256 * MIB);

    p = anonymous(MIB);
    fill(p, MIB, 2);
    memset(p, 0, MIB);
    note("zeroed", p, MIB);

    p = anonymous(MIB);
    for (size_t i = 0; i < MIB; i += PAGE)
        *(volatile char *)(p + i);
    note("only-read", p, MIB);

    note("untouched", anonymous(64 * MIB), 64 * MIB);

    p = anonymous(MIB);
    fill(p, MIB, 3);
    mprotect(p, MIB, PROT_READ);
    note("read-only", p, MIB);

    p = anonymous(64 * KIB);
    fill(p, 64 * KIB, 4);
    mprotect(p, 64 * KIB, PROT_WRITE);
    note("write-only", p, 64 * KIB);

    p = anonymous(64 * KIB);
    fill(p, 64 * KIB, 5);
    mprotect(p, 64 * KIB, PROT_READ | PROT_EXEC);
    note("generated-code", p, 64 * KIB);

    p = anonymous(16 * PAGE);
    fill(p, 16 * PAGE, 6);
    mprotect(p + 4 * PAGE, PAGE, PROT_NONE);
    note("around-guard", p, 4 * PAGE);
    note("guard", p + 4 * PAGE, PAGE);

    p = anonymous(256 * KIB);
    fill(p, 256 * KIB, 7);
    madvise(p, 256 * KIB, MADV_DONTDUMP);
    note("dont-dump", p, 256 * KIB);

    p = anonymous(256 * KIB);
    fill(p, 256 * KIB, 11);
    madvise(p, 256 * KIB, MADV_DONTFORK);
    note("dont-fork", p, 256 * KIB);

    p = anonymous(256 * KIB);
    fill(p, 256 * KIB, 12);
    madvise(p, 256 * KIB, MADV_WIPEONFORK);
    note("wipe-on-fork", p, 256 * KIB);

    p = anonymous(16 * PAGE);
    fill(p, 16 * PAGE, 8);
    if (!madvise(p + 5 * PAGE, 2 * PAGE, MADV_GUARD_INSTALL)) {
        note("before-light-guard", p, 5 * PAGE);
        note("light-guard", p + 5 * PAGE, 2 * PAGE);
        note("after-light-guard", p + 7 * PAGE, 9 * PAGE);
    }

    /* Two pages of 1 KiB that differ in the top bits of two words alone. */
    p = anonymous(PAGE);
    fill(p, KIB, 9);
    memcpy(p + KIB, p, KIB);
    ((uint64_t *)(p + KIB))[0] ^= 1UL << 63;
    ((uint64_t *)(p + KIB))[5] ^= 1UL << 63;
    note("twins", p, PAGE);
}

static void large_pages(void)
{
    char *p = anonymous(8 * MIB);
    p = (char *)(((uintptr_t)p + 2 * MIB - 1) & ~(2 * MIB - 1));
    madvise(p, 4 * MIB, MADV_HUGEPAGE);
    fill(p, 2 * MIB, 10);
    *(volatile char *)(p + 2 * MIB);
    note("large-pages", p, 4 * MIB);
}

static void file_kinds(const char *directory)
{
    int fd = data_file(directory, "data", MIB, 20);
    note("file", map(MIB, PROT_READ, MAP_PRIVATE, fd), MIB);
    char *p = map(MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
    for (size_t i = 0; i < MIB; i += PAGE)
        *(volatile char *)(p + i);
    fill(p + 3 * PAGE, PAGE, 21);
    fill(p + 7 * PAGE, 8, 22);
    note("file-changed", p, MIB);
    close(fd);

    fd = data_file(directory, "shared", MIB, 23);
    p = map(MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    fill(p + 2 * PAGE, PAGE, 24);
    note("file-shared", p, MIB);
    close(fd);

    fd = data_file(directory, "short", 10000, 25);
    note("past-end", map(16 * PAGE, PROT_READ, MAP_PRIVATE, fd), 16 * PAGE);
    close(fd);

    fd = data_file(directory, "cut", 16 * PAGE, 26);
    p = map(16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
    fill(p, PAGE, 27);
    fill(p + 10 * PAGE, PAGE, 28);
    if (ftruncate(fd, (off_t)PAGE * 2))
        die("ftruncate");
    note("cut", p, 16 * PAGE);
    close(fd);

    char path[4096];
    fd = data_file(directory, "gone", 16 * PAGE, 29);
    p = map(16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
    fill(p, PAGE, 30);
    snprintf(path, sizeof path, "%s/gone", directory);
    unlink(path);
    note("file-gone", p, 16 * PAGE);
    close(fd);

    fd = open("/dev/zero", O_RDWR);
    p = map(64 * KIB, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
    fill(p, 32 * KIB, 31);
    note("dev-zero", p, 64 * KIB);
    close(fd);
}

static int memory_file(const char *name, size_t length, uint64_t seed)
{
    char *content = malloc(length);
    int fd = memfd_create(name, 0);
    if (!content || fd < 0)
        die(name);
    fill(content, length, seed);
    if (write(fd, content, length) != (ssize_t)length)
        die("write");
    free(content);
    return fd;
}

static void shared_kinds(void)
{
    char *p = map(MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
    fill(p, MIB, 40);
    note("shared-anonymous", p, MIB);

    /* Filled by a child: in this process's page table there is nothing. */
    p = map(MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
    pid_t child = fork();
    if (child == 0) {
        fill(p, MIB, 41);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    note("shared-by-child", p, MIB);

    /* The first of a machine has the id 0, and so the inode 0, like memory that no file backs. */
    int next = open("/proc/sys/kernel/shm_next_id", O_WRONLY);
    if (next >= 0 && write(next, "0", 1) < 0)
        die("shm_next_id");
    int id = shmget(IPC_PRIVATE, MIB, IPC_CREAT | 0600);
    p = shmat(id, NULL, 0);
    if (p == (void *)-1)
        die("shmat");
    shmctl(id, IPC_RMID, NULL);
    fill(p, 512 * KIB, 42);
    note("sysv", p, MIB);

    int fd = memfd_create("touched", 0);
    if (ftruncate(fd, (off_t)MIB))
        die("ftruncate");
    p = map(MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    fill(p + 256 * KIB, 256 * KIB, 43);
    note("memfd", p, MIB);

    fd = memory_file("written", MIB, 44);
    note("memfd-written", map(MIB, PROT_READ, MAP_SHARED, fd), MIB);
    note("memfd-private", map(MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd), MIB);

    char name[64];
    snprintf(name, sizeof name, "/snaptui-test-%d", getpid());
    fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0 && errno == EACCES && geteuid() != 0)
        return; /* some machines let only root write in /dev/shm */
    if (fd < 0 || ftruncate(fd, (off_t)MIB))
        die("shm_open");
    shm_unlink(name);
    p = map(MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    fill(p, MIB, 45);
    note("posix-shared", p, MIB);
}

/* Memory that the kernel may refuse to show to anyone; not every kernel has it. */
static void odd_kinds(void)
{
#ifdef SYS_memfd_secret
    int fd = (int)syscall(SYS_memfd_secret, 0);
    if (fd >= 0 && !ftruncate(fd, (off_t)(16 * PAGE))) {
        char *p = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (p != MAP_FAILED) {
            fill(p, 16 * PAGE, 50);
            note("secret", p, 16 * PAGE);
        }
    }
#endif
#ifdef SYS_io_uring_setup
    uint32_t parameters[30] = {0};
    int ring = (int)syscall(SYS_io_uring_setup, 64, parameters);
    if (ring >= 0) {
        void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ring, 0);
        if (p != MAP_FAILED)
            note("io-uring", p, PAGE);
    }
#endif
}

/* A function in a page of its own, patched as a debugger's breakpoint would. */
__attribute__((aligned(4096), noinline)) static int patched(void)
{
    return 1;
}

static void patch_code(void)
{
    if (mprotect((void *)patched, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC))
        die("mprotect");
    *(volatile unsigned char *)patched = 0xcc;
    mprotect((void *)patched, PAGE, PROT_READ | PROT_EXEC);
    note("patched-code", patched, 64);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    uint64_t *deep = alloca(512 * KIB);
    fill(deep, 512 * KIB, 60);
    note("stack", deep, 512 * KIB);
    char *heap = malloc(100 * KIB);
    fill(heap, 100 * KIB, 61);
    note("heap", heap, 100 * KIB);
    fill(modified_data, sizeof modified_data, 62);
    note("data", modified_data, sizeof modified_data);
    fill(modified_bss, sizeof modified_bss / 2, 63);
    note("bss", modified_bss, sizeof modified_bss);
    anonymous_kinds();
    large_pages();
    file_kinds(argv[1]);
    shared_kinds();
    odd_kinds();
    patch_code();
    say("ready");
    printf("%send\n", table);
    fflush(stdout);
    sleep_for_ever();
}
