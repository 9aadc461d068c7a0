// What encoder.c and take.c share: the pages that a snapshot holds so far, and what they call of each other.
#ifndef SNAPTUI_ENCODER_H
#define SNAPTUI_ENCODER_H

#include <pthread.h>
#include <stdint.h>

enum {
    PAGE = 1024,
    RAW_SIZE = 1 + PAGE,
    FIELD = 12,             // bytes of a number of up to 11 digits
    WINDOW = 64 << 10,      // read back at a time where pages repeat in a row
    CACHE = 96 << 20,       // of what was read back, for all threads; not touched where nothing repeats
    SLOTS_AT_ONCE = 64 << 20,  // bytes of an empty table up to which its pages are made with it
    PIECE = 512 << 10,      // taken at a time: it and its descriptions fit into a core's second cache
    ALIGNMENT = 16 << 10,   // of the pools and spans that allocators cut memory into
    ROWS = 512,             // of a piece: below IOV_MAX
    MAX_THREADS = 8,
    MUCH = 4 << 20,         // bytes for which it is worth while to ask for blocks of the disk at once
    PLENTY = 16,            // times as many are to be free
    SPINS = 2000,           // looks, 0.1 ms, before a thread sleeps until its turn: to be woken takes as long
    MACHINE_PAGE = 4096,    // or a divisor of it: what is skipped at a time where memory can't be read
};

typedef struct {
    uint64_t position;  // of the page's bytes in the file
    uint32_t number;    // of the page in the file
    uint32_t tag;       // of its contents
} Known;

typedef struct {
    uint64_t first;   // the number of the segment's first page
    uint64_t offset;  // where it begins: an address, or an offset in the text
    uint8_t prefix[1 + 24];  // the flag and the pid, as a reference begins
    uint8_t prefix_size;
} Origin;

typedef struct {
    uint64_t number;  // of the window, counted from 1; 0: empty
    uint64_t size;    // bytes that are there: a window, and as much more as a page that begins in it may have
    uint8_t content[WINDOW + PAGE];
} Window;

// What a thread has read back of the file.
typedef struct {
    int fd;
    uint64_t count;
    Window *windows;    // the window with number n is, if it is there, at n % count
    uint64_t *missed;   // the window that was wanted last there
    uint8_t page[PAGE];
} Cache;

typedef struct {
    int fd;
    unsigned bits;    // the table of slots has 2^bits
    uint32_t *slots;  // 0, or one more than the index of a known page
    Known *known;
    uint64_t count, room;
    Origin *origins;  // by `first`
    uint64_t origin_count, origin_room;
    pthread_mutex_t lock;  // of all of the above, and the next two, where several threads take memory
    pthread_cond_t landed;  // something has been written
    uint64_t flying[MAX_THREADS];  // from where on each thread is just writing; UINT64_MAX: nowhere
    Cache caches[MAX_THREADS];  // one for each thread
    uint64_t set_aside;  // up to here the file has its blocks on the disk already
    uint8_t *rooms[MAX_THREADS];  // what a thread works in: kept, for new memory costs the kernel a fault a page
    int cache_count;
} Encoder;

// Pages, n x 1024 bytes: their hashes, and for each the index of the known page that it equals, or -1: not known.
// Once they are encoded: where among the descriptions each goes that is described as it is, or -1.
typedef struct {
    const uint8_t *pages;
    uint64_t count;
    uint64_t *hashes;
    int64_t *equals;
} Batch;

void hash_pages(const uint8_t *pages, uint64_t count, uint64_t *hashes);
int64_t look_up(const Encoder *e, uint64_t hash);
int is_same(Cache *cache, const uint8_t *page, uint64_t position);
uint64_t written(const Encoder *e);
uint64_t encode(Encoder *e, Cache *cache, const Batch *batch, uint64_t first, uint64_t base, uint8_t *out);
void lay_out(const Batch *batch, uint8_t *out);

#endif
