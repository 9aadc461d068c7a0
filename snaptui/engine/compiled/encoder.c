// The inner loops of saving memory: reading it, hashing its pages, finding those that the file already holds, and
// laying out page descriptions (snap(6)). native.py calls these through ctypes. arrays.py does the same with
// numpy where no compiler was there to build this; the tests hold both to the same results.
//
// Why it is here: a piece of memory goes through all steps while it is in one core's cache, and two cores work
// on two pieces. With numpy a piece must be so large, for its overhead, that each step fetches it from
// memory again; and importing numpy takes a fifth of the time in which gdb's gcore has saved 1 GiB.
#define _GNU_SOURCE
#include "encoder.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // Linux 5.14
#endif

// A call of libc's, which knows the machine: gcc would write `rep movs`, a third as fast at odd addresses.
static void *(*const volatile copy_page)(void *, const void *, size_t) = mempcpy;

static uint8_t *put_number(uint8_t *out, uint64_t number) {
    uint8_t digits[20];
    int count = 0;
    do digits[count++] = '0' + number % 10;
    while (number /= 10);
    int width = count < FIELD - 1 ? FIELD - 1 : count;
    for (int k = 0; k < count; k++) out[k] = digits[count - 1 - k];
    memset(out + count, ' ', width + 1 - count);
    return out + width + 1;
}

// A reference as it stands in a file, of which the next one differs in the offset: ten in a row differ in their last four
// digits alone.
typedef struct {
    uint8_t bytes[1 + 24 + 24];  // begins with the flag and the pid,
    uint64_t number_at, size;    // and the offset follows
    uint64_t offset, digits_at;  // of the last four digits
    unsigned digits;             // the number that they make
} Reference;

static void begin_reference(Reference *reference, const uint8_t *prefix, uint64_t prefix_size) {
    memcpy(reference->bytes, prefix, prefix_size);
    reference->number_at = prefix_size, reference->offset = 0, reference->digits = 10000;
}

static uint8_t *put_reference(Reference *reference, uint64_t offset, uint8_t *out) {
    if (offset == reference->offset + PAGE && reference->digits + PAGE < 10000 && offset >= 2 * PAGE) {
        reference->digits += PAGE;
        uint8_t *digits = reference->bytes + reference->digits_at;
        for (unsigned k = 4, rest = reference->digits; k--; rest /= 10) digits[k] = '0' + rest % 10;
    } else {
        uint8_t *number = reference->bytes + reference->number_at, *digits = number;
        reference->size = put_number(number, offset) - reference->bytes;
        while (*digits != ' ') digits++;
        reference->digits_at = digits - reference->bytes - 4, reference->digits = offset % 10000;
    }
    reference->offset = offset;
    memcpy(out, reference->bytes, reference->size);
    return out + reference->size;
}

// An empty table of 2^bits slots; NULL if there is no memory. Its pages are there at once, unless it is so large that
// they may never be used: one that was only read before it is written to costs a second fault, and all processors are
// told of that (5 % of the time that processes stand).
static uint32_t *new_slots(unsigned bits) {
    uint64_t size = sizeof(uint32_t) << bits;
    uint32_t *slots = calloc(1, size);
    uintptr_t start = ((uintptr_t)slots + MACHINE_PAGE - 1) & ~(uintptr_t)(MACHINE_PAGE - 1);
    if (slots && size <= SLOTS_AT_ONCE) madvise((void *)start, (uintptr_t)slots + size - start, MADV_POPULATE_WRITE);
    return slots;
}

static int is_full(const Encoder *e) {
    return e->count == e->room || e->count + 1 > (1ull << e->bits) / 3 * 2;
}

// Room for more known pages and slots; 0 if there is no memory: what is known stays.
static int grow(Encoder *e) {
    if (e->count >= UINT32_MAX - 1) return 0;
    if (e->count == e->room) {
        Known *known = realloc(e->known, 2 * e->room * sizeof *known);
        if (!known) return 0;
        e->known = known, e->room *= 2;
    }
    if (!is_full(e)) return 1;
    uint32_t *slots = new_slots(e->bits + 1);
    if (!slots) return 0;
    free(e->slots);
    e->slots = slots, e->bits++;
    uint64_t mask = (1ull << e->bits) - 1;
    for (uint64_t k = 0; k < e->count; k++) {
        uint64_t at = e->known[k].tag >> (32 - e->bits);
        while (slots[at]) at = (at + 1) & mask;
        slots[at] = k + 1;
    }
    return 1;
}

static int cache_open(Cache *cache, int fd, uint64_t size) {
    cache->fd = fd, cache->count = size / sizeof *cache->windows;
    cache->windows = calloc(cache->count, sizeof *cache->windows);
    cache->missed = calloc(cache->count, sizeof *cache->missed);
    return cache->windows && cache->missed;
}

static void cache_close(Cache *cache) {
    free(cache->windows), free(cache->missed);
}

void encoder_close(Encoder *e) {
    for (int k = 0; k < e->cache_count; k++) cache_close(&e->caches[k]), free(e->rooms[k]);
    free(e->known), free(e->slots), free(e->origins), free(e);
}

// An encoder for the file `fd`, which is read back, about `expected` pages, and so many threads. NULL if there is no
// memory.
Encoder *encoder_open(int fd, uint64_t expected, int threads) {
    Encoder *e = calloc(1, sizeof *e);
    if (!e) return NULL;
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->landed, NULL);
    memset(e->flying, 0xff, sizeof e->flying);
    e->fd = fd;
    e->room = expected < 1 << 14 ? 1 << 14 : expected;
    e->bits = 15;
    while ((1ull << e->bits) / 3 * 2 < e->room && e->bits < 31) e->bits++;
    e->known = malloc(e->room * sizeof *e->known);  // the kernel gives it as it is used
    e->slots = new_slots(e->bits);
    e->origin_room = 16;
    e->origins = malloc(e->origin_room * sizeof *e->origins);
    int complete = e->known && e->slots && e->origins;
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    while (complete && e->cache_count < threads) complete = cache_open(&e->caches[e->cache_count++], fd, CACHE / threads);
    if (complete) return e;
    encoder_close(e);
    return NULL;
}

// From the number `first` on, pages are those of a segment at `offset` of image `kind` of `pid`. 0: no memory.
int encoder_origin(Encoder *e, uint8_t kind, uint64_t pid, uint64_t offset, uint64_t first) {
    if (e->origin_count == e->origin_room) {
        Origin *origins = realloc(e->origins, 2 * e->origin_room * sizeof *origins);
        if (!origins) return 0;
        e->origins = origins, e->origin_room *= 2;
    }
    Origin *origin = &e->origins[e->origin_count++];
    origin->first = first, origin->offset = offset;
    origin->prefix[0] = kind;
    origin->prefix_size = put_number(origin->prefix + 1, pid) - origin->prefix;
    return 1;
}

// The last segment whose first page is not past `number`.
static const Origin *origin_of(const Encoder *e, uint64_t number) {
    uint64_t low = 0, high = e->origin_count;
    while (high - low > 1) {
        uint64_t middle = (low + high) / 2;
        if (e->origins[middle].first <= number) low = middle;
        else high = middle;
    }
    return &e->origins[low];
}

// The PAGE bytes at `position` of the file; NULL if they cannot be read back.
static const uint8_t *read_back(Cache *cache, uint64_t position) {
    uint64_t number = position / WINDOW + 1, within = position % WINDOW, slot = number % cache->count;
    Window *window = &cache->windows[slot];
    if (window->number == number && within + PAGE <= window->size) return window->content + within;
    if (cache->missed[slot] != number) {
        // Pages that repeat do so in runs, or alone: the second of a window shows which.
        cache->missed[slot] = number;
        return pread(cache->fd, cache->page, PAGE, position) == PAGE ? cache->page : NULL;
    }
    ssize_t size = pread(cache->fd, window->content, sizeof window->content, (number - 1) * WINDOW);
    window->number = number, window->size = size < 0 ? 0 : size;
    return within + PAGE <= window->size ? window->content + within : NULL;
}

// Whether a page equals the one whose bytes are at `position` of the file. What cannot be read back is not the
// same: it is written again.
int is_same(Cache *cache, const uint8_t *page, uint64_t position) {
    const uint8_t *other = read_back(cache, position);
    return other && !memcmp(page, other, PAGE);
}

// The file is there to be read back up to here; under the lock.
uint64_t written(const Encoder *e) {
    uint64_t end = UINT64_MAX;
    for (int k = 0; k < e->cache_count; k++)
        if (e->flying[k] < end) end = e->flying[k];
    return end;
}

// The index of the known page that a hash proposes, or -1.
int64_t look_up(const Encoder *e, uint64_t hash) {
    uint32_t tag = hash >> 32;
    uint64_t mask = (1ull << e->bits) - 1, at = tag >> (32 - e->bits);
    for (; e->slots[at]; at = (at + 1) & mask)
        if (e->known[e->slots[at] - 1].tag == tag) return e->slots[at] - 1;
    return -1;
}

// The same; if there is none, this page is known from now on.
static int64_t look_up_or_add(Encoder *e, uint64_t hash, uint64_t number, uint64_t position) {
    uint32_t tag = hash >> 32;
    uint64_t mask = (1ull << e->bits) - 1, at = tag >> (32 - e->bits);
    for (; e->slots[at]; at = (at + 1) & mask)
        if (e->known[e->slots[at] - 1].tag == tag) return e->slots[at] - 1;
    if (number > UINT32_MAX) return -1;
    if (is_full(e)) {
        if (!grow(e)) return -1;
        mask = (1ull << e->bits) - 1, at = tag >> (32 - e->bits);
        while (e->slots[at]) at = (at + 1) & mask;
    }
    e->known[e->count] = (Known){position, number, tag};
    e->slots[at] = ++e->count;
    return -1;
}

// The descriptions of a batch, whose first page has the number `first`, to stand in the file from `base` on; under
// the lock. For pages as they are there is only room yet: `lay_out` puts them there, for which nobody must wait.
uint64_t encode(Encoder *e, Cache *cache, const Batch *batch, uint64_t first, uint64_t base, uint8_t *out) {
    const uint8_t *pages = batch->pages;
    const uint64_t *hashes = batch->hashes;
    uint8_t *at = out;
    const Origin *origin = NULL;
    Reference reference;
    uint64_t origin_end = 0;
    for (uint64_t page = 0; page < batch->count; page++, pages += PAGE) {
        int64_t found = batch->equals[page];
        batch->equals[page] = -1;
        if (!hashes[page]) {
            *at++ = 'z';
            continue;
        }
        if (found < 0) {
            found = look_up_or_add(e, hashes[page], first + page, base + (at - out) + 1);
            if (found >= 0) {
                uint64_t position = e->known[found].position, number = e->known[found].number;
                while (position < base && position + PAGE > written(e)) pthread_cond_wait(&e->landed, &e->lock);
                int same = position < base ? is_same(cache, pages, position)
                                           : !memcmp(pages, batch->pages + (number - first) * PAGE, PAGE);
                if (!same) found = -1;
            }
        }
        if (found < 0) {
            batch->equals[page] = at - out;
            at += RAW_SIZE;
            continue;
        }
        uint64_t number = e->known[found].number;
        if (!origin || number < origin->first || number >= origin_end) {
            origin = origin_of(e, number);
            int is_last = origin + 1 == e->origins + e->origin_count;
            origin_end = is_last ? UINT64_MAX : origin[1].first;
            begin_reference(&reference, origin->prefix, origin->prefix_size);
        }
        at = put_reference(&reference, origin->offset + (number - origin->first) * PAGE, at);
    }
    return at - out;
}

// Put those pages of an encoded batch that are not described by less among the descriptions.
void lay_out(const Batch *batch, uint8_t *out) {
    for (uint64_t page = 0; page < batch->count; page++) {
        if (batch->equals[page] < 0) continue;
        uint8_t *at = out + batch->equals[page];
        *at++ = 'r';
        copy_page(at, batch->pages + page * PAGE, PAGE);
    }
}

// The descriptions of `count` pages, the first of which has the number `first`, to stand in the file from `base`
// on. `hashes` and `equals` have room for `count`, `out` for RAW_SIZE bytes a page. Returns the bytes laid out.
uint64_t encoder_encode(Encoder *e, const uint8_t *pages, uint64_t count, uint64_t first, uint64_t base,
                        uint64_t *hashes, int64_t *equals, uint8_t *out) {
    Batch batch = {pages, count, hashes, equals};
    hash_pages(pages, count, hashes);
    for (uint64_t page = 0; page < count; page++) equals[page] = -1;
    pthread_mutex_lock(&e->lock);
    uint64_t size = encode(e, &e->caches[0], &batch, first, base, out);
    pthread_mutex_unlock(&e->lock);
    lay_out(&batch, out);
    return size;
}

// References to `count` pages from `offset` on of image `kind` of `pid`. Returns the bytes laid out: a process of which
// all pages are references has millions of them.
uint64_t encoder_references(uint8_t kind, uint64_t pid, uint64_t offset, uint64_t count, uint8_t *out) {
    uint8_t prefix[1 + 24] = {kind}, *at = out;
    Reference reference;
    begin_reference(&reference, prefix, put_number(prefix + 1, pid) - prefix);
    for (uint64_t page = 0; page < count; page++) at = put_reference(&reference, offset + page * PAGE, at);
    return at - out;
}
