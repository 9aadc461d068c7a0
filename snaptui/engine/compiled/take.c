// Taking memory of a process straight into the file: each piece goes through all steps while it is in one core's
// cache, and two cores work on two pieces.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "encoder.h"

typedef struct {
    uint64_t address, size;
    uint64_t how;  // VECTOR, ZEROS, or FORCED
} Row;

enum { VECTOR, ZEROS, FORCED };  // by process_vm_readv(2); nothing to read; by pread(2) of /proc/PID/mem

typedef struct {
    uint64_t address, size;
} Range;

typedef struct {
    Encoder *encoder;
    int pid, memory;  // a living thread; its /proc/PID/mem, or -1
    const Row *rows;
    uint64_t row_count;
    uint64_t first, position;  // of the next page, and where in the file it goes
    Range *missed;             // what could not be read: zeros stand in its place
    uint64_t missed_count, missed_room;
    uint64_t *marks;  // where in the file aligned memory begins
    uint64_t mark_count, mark_room;
    uint64_t row, within;  // how far the rows are given out
    uint64_t given, done;  // pieces given out, and written
    int ended, error;
    int workers;
    pthread_mutex_t lock;
    pthread_cond_t turn;
} Job;

typedef struct {
    Row rows[ROWS];
    int row_count;
    uint64_t number, size;
} Piece;

// The next piece, under the lock; 0 if there is none. A row is cut where memory is aligned.
static int next_piece(Job *job, Piece *piece) {
    piece->row_count = 0, piece->size = 0;
    while (job->row < job->row_count && piece->row_count < ROWS && piece->size < PIECE) {
        Row row = job->rows[job->row];
        row.address += job->within;
        row.size -= job->within;
        uint64_t room = PIECE - piece->size;
        if (row.size > room) {
            uint64_t beyond = (row.address + room) % ALIGNMENT;
            if (beyond < room) room -= beyond;
            row.size = room, job->within += room;
        } else job->row++, job->within = 0;
        piece->rows[piece->row_count++] = row;
        piece->size += row.size;
        if (job->within) break;
    }
    piece->number = job->given++;
    return piece->size > 0;
}

static void miss(Job *job, uint8_t *into, uint64_t address, uint64_t size) {
    memset(into, 0, size);
    pthread_mutex_lock(&job->lock);
    if (job->missed_count < job->missed_room) job->missed[job->missed_count++] = (Range){address, size};
    else job->error = ENOMEM;
    pthread_mutex_unlock(&job->lock);
}

// Read a row part by part, past the pages that cannot be read.
static void read_row(Job *job, const Row *row, uint8_t *into) {
    for (uint64_t at = 0; at < row->size;) {
        ssize_t size;
        if (row->how == FORCED) {
            size = job->memory < 0 ? -1 : pread(job->memory, into + at, row->size - at, row->address + at);
            if (size == 0) job->ended = 1;  // a process without memory
        } else {
            struct iovec here = {into + at, row->size - at};
            struct iovec there = {(void *)(uintptr_t)(row->address + at), row->size - at};
            size = job->ended ? -1 : process_vm_readv(job->pid, &here, 1, &there, 1, 0);
            if (size < 0 && errno == ESRCH) job->ended = 1;
        }
        if (size <= 0) {
            size = job->ended ? row->size - at : MACHINE_PAGE - (row->address + at) % MACHINE_PAGE;
            if ((uint64_t)size > row->size - at) size = row->size - at;
            miss(job, into + at, row->address + at, size);
        }
        at += size;
    }
}

static void read_piece(Job *job, const Piece *piece, uint8_t *pages) {
    struct iovec here[ROWS], there[ROWS];
    int count = 0;
    uint64_t at = 0, wanted = 0;
    for (int k = 0; k < piece->row_count; k++) {
        const Row *row = &piece->rows[k];
        if (row->how == ZEROS) memset(pages + at, 0, row->size);
        else if (row->how == FORCED) read_row(job, row, pages + at);
        else {
            here[count] = (struct iovec){pages + at, row->size};
            there[count++] = (struct iovec){(void *)(uintptr_t)row->address, row->size};
            wanted += row->size;
        }
        at += row->size;
    }
    if (!count) return;
    ssize_t size = job->ended ? -1 : process_vm_readv(job->pid, here, count, there, count, 0);
    if (size >= 0 && (uint64_t)size == wanted) return;
    // Something cannot be read: again, row by row.
    at = 0;
    for (int k = 0; k < piece->row_count; at += piece->rows[k++].size)
        if (piece->rows[k].how == VECTOR) read_row(job, &piece->rows[k], pages + at);
}

static int write_all(int fd, const uint8_t *data, uint64_t size, uint64_t position) {
    while (size) {
        ssize_t done = pwrite(fd, data, size, position);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return done < 0 ? errno : EIO;
        data += done, size -= done, position += done;
    }
    return 0;
}

// Find out which pages of a batch equal known ones, while others write: those written before `end` are looked at.
static void match(Encoder *e, Cache *cache, const Batch *batch, uint64_t *positions) {
    const uint32_t *slots = e->slots;  // or what they were: then this is no use, and does no harm
    for (uint64_t page = 0, shift = 64 - e->bits; page < batch->count; page++)
        __builtin_prefetch(&slots[batch->hashes[page] >> shift]);
    pthread_mutex_lock(&e->lock);
    for (uint64_t page = 0; page < batch->count; page++) {
        int64_t found = batch->hashes[page] ? look_up(e, batch->hashes[page]) : -1;
        batch->equals[page] = found;
        if (found >= 0) positions[page] = e->known[found].position;
    }
    uint64_t end = written(e);
    pthread_mutex_unlock(&e->lock);
    for (uint64_t page = 0; page < batch->count; page++)
        if (batch->equals[page] >= 0 &&
            (positions[page] + PAGE > end || !is_same(cache, batch->pages + page * PAGE, positions[page])))
            batch->equals[page] = -1;
}

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void *work(void *argument) {
    Job *job = argument;
    Encoder *e = job->encoder;
    enum { COUNT = PIECE / PAGE };
    Piece piece;
    pthread_mutex_lock(&job->lock);
    int self = job->workers++;
    Cache *cache = &e->caches[self];
    // Pages go to where pages begin: AMD's processors (Zen 3) copy at a third of their speed, by the `rep movsb` of the
    // kernel, to places whose address within a page is 1 to 31 bytes past that of the source.
    if (!e->rooms[self])
        e->rooms[self] = aligned_alloc(MACHINE_PAGE, PIECE + COUNT * (RAW_SIZE + 3 * sizeof(uint64_t)) + MACHINE_PAGE);
    uint8_t *pages = e->rooms[self];
    uint64_t *numbers = (uint64_t *)(pages + PIECE);
    uint8_t *room = (uint8_t *)(numbers + 3 * COUNT);
    Batch batch = {pages, 0, numbers, (int64_t *)(numbers + COUNT)};
    if (!pages) job->error = ENOMEM;
    while (!job->error && next_piece(job, &piece)) {
        pthread_mutex_unlock(&job->lock);
        batch.count = piece.size / PAGE;
        read_piece(job, &piece, pages);
        hash_pages(pages, batch.count, batch.hashes);
        match(e, cache, &batch, numbers + 2 * COUNT);
        for (int k = 0; k < SPINS && __atomic_load_n(&job->done, __ATOMIC_ACQUIRE) != piece.number; k++) relax();
        pthread_mutex_lock(&job->lock);
        while (job->done != piece.number && !job->error) pthread_cond_wait(&job->turn, &job->lock);
        if (job->error) break;
        pthread_mutex_unlock(&job->lock);
        // Only the one whose turn it is comes here.
        uint64_t position = job->position;
        uint8_t *out = room + position % MACHINE_PAGE;
        if (piece.rows[0].address % ALIGNMENT == 0 && job->mark_count < job->mark_room)
            job->marks[job->mark_count++] = position;
        pthread_mutex_lock(&e->lock);
        e->flying[self] = position;
        uint64_t size = encode(e, cache, &batch, job->first, position, out);
        pthread_mutex_unlock(&e->lock);
        pthread_mutex_lock(&job->lock);
        job->first += batch.count, job->position += size;
        __atomic_store_n(&job->done, job->done + 1, __ATOMIC_RELEASE);
        pthread_cond_broadcast(&job->turn);
        pthread_mutex_unlock(&job->lock);
        lay_out(&batch, out);
        int error = write_all(e->fd, out, size, position);
        pthread_mutex_lock(&e->lock);
        e->flying[self] = UINT64_MAX;
        pthread_cond_broadcast(&e->landed);
        pthread_mutex_unlock(&e->lock);
        pthread_mutex_lock(&job->lock);
        if (error) job->error = error;
    }
    pthread_cond_broadcast(&job->turn);
    pthread_mutex_unlock(&job->lock);
    return NULL;
}

// Have blocks for what may be written from `position` on, where the disk has plenty. ext4, asked for each 4 KiB by
// itself, takes half as long again to write it. What stays unused is given back where the file is completed (output.py).
static void set_aside(Encoder *e, uint64_t position, const Row *rows, uint64_t row_count) {
    uint64_t size = 0;
    for (uint64_t k = 0; k < row_count; k++) size += rows[k].size / PAGE * RAW_SIZE;
    struct statfs disk;
    if (size < MUCH || position + size <= e->set_aside || fstatfs(e->fd, &disk)) return;
    if (disk.f_type != EXT4_SUPER_MAGIC || disk.f_bavail / PLENTY < size / disk.f_bsize) return;
    // It may fail all the same: then the file grows as it is written, or writing fails, and says why.
    if (!fallocate(e->fd, FALLOC_FL_KEEP_SIZE, e->set_aside, position + size - e->set_aside))
        e->set_aside = position + size;
}

// Read the `rows` (whole pages of 1 KiB in all) of `pid` and write their descriptions to the encoder's file,
// from `*position` on, which is advanced; `first` is the number of the first page. `memory` is /proc/PID/mem, or
// -1. What cannot be read comes as zeros, and into `missed`, of which there are `*missed_count`, with room for a
// row each and a range for each machine page. `marks` are places in the file where aligned memory begins, one for
// each piece at most. Returns 0 or an error number; `*ended`: the process has gone.
int encoder_take(Encoder *e, int pid, int memory, const Row *rows, uint64_t row_count, uint64_t first,
                 uint64_t *position, Range *missed, uint64_t missed_room, uint64_t *missed_count,
                 uint64_t *marks, uint64_t mark_room, uint64_t *mark_count, int *ended, int thread_count) {
    if (thread_count > e->cache_count) thread_count = e->cache_count;
    set_aside(e, *position, rows, row_count);
    Job job = {.encoder = e, .pid = pid, .memory = memory, .rows = rows, .row_count = row_count, .first = first,
               .position = *position, .missed = missed, .missed_room = missed_room,
               .marks = marks, .mark_room = mark_room,
               .lock = PTHREAD_MUTEX_INITIALIZER, .turn = PTHREAD_COND_INITIALIZER};
    pthread_t threads[MAX_THREADS];
    int started = 0;
    while (started + 1 < thread_count &&
           !pthread_create(&threads[started], NULL, work, &job))
        started++;
    work(&job);
    while (started) pthread_join(threads[--started], NULL);
    *position = job.position, *missed_count = job.missed_count, *mark_count = job.mark_count, *ended = job.ended;
    return job.error;
}
