// Reading pages of a plain snapshot, references followed. pages.py does the same with numpy, for every kind of
// snapshot, and judges what is unusual or wrong: here such a read just fails, and is then done there.
#define _GNU_SOURCE
#include "pages.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>

enum {
    PAGE = 1024,
    RAW_SIZE = 1 + PAGE,
    RUN = 128,            // pages read at a time: so few that they stay in the processor's cache
    REFERENCES = 256,     // read at a time
    REFERENCE_MAX = 128,  // bytes; longer ones are unusual
    DIGITS = 19,          // of a number that cannot overflow
    AT_ONCE = 1 << 20,    // bytes, so that the plan has room
    DEPTH = 4,            // references to references; the writers here make none
    TMPFS = 0x01021994,   // TMPFS_MAGIC of linux/magic.h
};

// The last of `count` ascending numbers that is not above `value`; -1 if there is none.
static int64_t last_up_to(const uint64_t *numbers, uint64_t count, uint64_t value) {
    uint64_t low = 0, high = count;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (numbers[middle] <= value) low = middle + 1;
        else high = middle;
    }
    return (int64_t)low - 1;
}

// Where in the file the byte after the first `size` of a raw piece is, as if no flag were before it.
static uint64_t after(const Piece *piece, uint64_t size) {
    return piece->position + (piece->begin + size) / PAGE * RAW_SIZE + (piece->begin + size) % PAGE;
}

static int get(const Pages *p, uint64_t position, uint64_t size, uint8_t *out, int flags) {
    struct iovec whole = {out, size};
    return preadv2(p->fd, &whole, 1, (off_t)position, flags) == (ssize_t)size ? 0 : -1;
}

// What to give preadv2 for `fd` so that it fails where it would have to wait for a disk; -1: it cannot be told to.
int pages_flags(int fd) {
    char byte;
    struct iovec one = {&byte, 1};
    struct statfs system;
    if (preadv2(fd, &one, 1, 0, RWF_NOWAIT) >= 0) return RWF_NOWAIT;
    return fstatfs(fd, &system) == 0 && system.f_type == TMPFS ? 0 : -1;
}

// Whether the file still is what it was. Asked after a read: write(2) sets the time before it changes a byte.
int pages_unchanged(const Pages *p) {
    struct stat now;
    return fstat(p->fd, &now) == 0 && now.st_size == p->size && now.st_mtim.tv_sec == p->seconds &&
           now.st_mtim.tv_nsec == p->nanoseconds;
}

// A number among blanks that fills all bytes up to `end`.
static int parse(const uint8_t *at, const uint8_t *end, uint64_t *value) {
    while (at < end && *at == ' ') at++;
    const uint8_t *digits = at;
    for (*value = 0; at < end && *at >= '0' && *at <= '9'; at++) *value = *value * 10 + (*at - '0');
    if (at == digits || at - digits > DIGITS) return -1;
    while (at < end && *at == ' ') at++;
    return at == end ? 0 : -1;
}

static const Image *image_of(const Pages *p, uint64_t pid, uint64_t kind) {
    uint64_t low = 0, high = p->images;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        const Image *image = p->image + middle;
        if (image->pid < pid || (image->pid == pid && image->kind < kind)) low = middle + 1;
        else high = middle;
    }
    return low < p->images && p->image[low].pid == pid && p->image[low].kind == kind ? p->image + low : NULL;
}

// The number of the page at `offset` of an image, which must come before page `before`, and be a whole one.
static int target_at(const Pages *p, const Image *image, uint64_t offset, uint64_t before, uint64_t *number) {
    uint64_t low = image->first, high = image->first + image->count;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (p->span[middle].offset <= offset) low = middle + 1;
        else high = middle;
    }
    if (low == image->first) return -1;
    const Span *span = p->span + low - 1;
    uint64_t within = offset - span->offset;
    *number = span->page + within / PAGE;
    if (within >= span->length || within % PAGE || *number >= before) return -1;
    int64_t shorter = last_up_to(p->shorter, p->shorter_count, *number);
    return shorter >= 0 && p->shorter[shorter] == *number ? -1 : 0;
}

// Note that the next `size` bytes are at `position`, or zeros.
static int add(Plan *plan, uint64_t position, uint64_t begin, uint64_t size) {
    Piece *last = plan->piece + plan->count - 1;
    int is_more = plan->count && (position == ALL_ZEROS ? last->position == ALL_ZEROS
                                                        : last->position != ALL_ZEROS &&
                                                              after(last, last->size) == position + begin);
    if (is_more && last->size + size <= UINT32_MAX) {
        last->size += size;
        return 0;
    }
    if (plan->count == PIECES || size > UINT32_MAX) return -1;
    plan->piece[plan->count++] = (Piece){position, begin, size};
    return 0;
}

static int plan_pages(const Pages *p, uint64_t page, uint64_t begin, uint64_t size, Plan *plan, int flags, int depth);

// `size` bytes from byte `begin` of page `page` on, of a run of references.
static int plan_references(const Pages *p, uint64_t run, uint64_t page, uint64_t begin, uint64_t size, Plan *plan,
                           int flags, int depth) {
    uint8_t window[REFERENCES * REFERENCE_MAX];
    uint64_t stride = p->stride[run], number_at = p->number_at[run], targets[REFERENCES];
    const Image *image = NULL;
    if (stride > REFERENCE_MAX || depth == DEPTH) return -1;
    while (size) {
        uint64_t count = (begin + size - 1) / PAGE + 1;
        if (count > REFERENCES) count = REFERENCES;
        uint64_t position = p->position[run] + (page - p->first[run]) * stride;
        if (get(p, position, count * stride, window, flags)) return -1;
        for (uint64_t k = 0; k < count; k++) {
            const uint8_t *reference = window + k * stride;
            uint64_t pid, offset;
            if (!image && (parse(reference + 1, reference + number_at, &pid) || !(image = image_of(p, pid, *reference))))
                return -1;
            if (parse(reference + number_at, reference + stride, &offset)) return -1;
            if (target_at(p, image, offset, page + k, targets + k)) return -1;
        }
        for (uint64_t k = 0, next; k < count && size; k = next) {  // those that follow each other at once
            for (next = k + 1; next < count && targets[next] == targets[next - 1] + 1;) next++;
            uint64_t part = (next - k) * PAGE - begin;
            if (part > size) part = size;
            if (plan_pages(p, targets[k], begin, part, plan, flags, depth + 1)) return -1;
            size -= part, begin = 0;
        }
        page += count;
    }
    return 0;
}

static int plan_pages(const Pages *p, uint64_t page, uint64_t begin, uint64_t size, Plan *plan, int flags, int depth) {
    int64_t found = last_up_to(p->first, p->runs, page);
    if (found < 0) return -1;
    for (uint64_t run = found; size; run++) {
        if (run >= p->runs) return -1;
        uint64_t stride = p->stride[run], part = size;
        if (run + 1 < p->runs && part > (p->first[run + 1] - page) * PAGE - begin)
            part = (p->first[run + 1] - page) * PAGE - begin;
        if (p->kind[run] == 'z') {
            if (add(plan, ALL_ZEROS, 0, part)) return -1;
        } else if (p->kind[run] == 'r') {
            if (stride != RAW_SIZE && begin + part > stride - 1) return -1;  // of pages that are shorter, one
            if (add(plan, p->position[run] + (page - p->first[run]) * stride, begin, part)) return -1;
        } else if (plan_references(p, run, page, begin, part, plan, flags, depth)) {
            return -1;
        }
        size -= part;
        page += (begin + part) / PAGE, begin = (begin + part) % PAGE;
    }
    return 0;
}

// `size` bytes from byte `begin` of the raw page on whose description is at `position`; more such follow it. They are
// read to where they belong, with the flags among them, and moved up: five times as fast as out of another buffer.
static int read_raw(const Pages *p, uint64_t position, uint64_t begin, uint64_t size, uint8_t *out, int flags) {
    uint8_t rest[RUN];
    while (size) {
        uint64_t part = size < RUN * PAGE - begin ? size : RUN * PAGE - begin;
        uint64_t crossed = (begin + part - 1) / PAGE;  // flags among the bytes; so many bytes are left for `rest`
        struct iovec both[2] = {{out, part}, {rest, crossed}};
        if (preadv2(p->fd, both, 2, (off_t)(position + 1 + begin), flags) != (ssize_t)(part + crossed)) return -1;
        uint64_t done = PAGE - begin;
        for (uint64_t k = 1; k <= crossed; k++, done += PAGE) {
            uint64_t piece = part - done < PAGE ? part - done : PAGE, from = done + k;
            uint64_t here = from >= part ? 0 : part - from < piece ? part - from : piece;
            memmove(out + done, out + from, here);
            memcpy(out + done + here, rest + (from + here - part), piece - here);
        }
        out += part, size -= part;
        position += (begin + part) / PAGE * RAW_SIZE;
        begin = (begin + part) % PAGE;
    }
    return 0;
}

// Read `size` bytes from byte `offset` of what was planned on.
int plan_read(const Pages *p, const Plan *plan, uint64_t offset, uint64_t size, uint8_t *out, int flags) {
    for (const Piece *piece = plan->piece; size; piece++) {
        if (offset >= piece->size) {
            offset -= piece->size;
            continue;
        }
        uint64_t part = piece->size - offset < size ? piece->size - offset : size;
        uint64_t begin = piece->begin + offset;
        if (piece->position == ALL_ZEROS) memset(out, 0, part);
        else if (read_raw(p, piece->position + begin / PAGE * RAW_SIZE, begin % PAGE, part, out, flags)) return -1;
        out += part, size -= part, offset = 0;
    }
    return 0;
}

// Read `size` bytes at `place`, all in one segment: the number of a page * 1024 + byte in it. -1: it can't be done here.
int pages_read(const Pages *p, uint64_t place, uint64_t size, uint8_t *out) {
    Plan plan;
    for (uint64_t part; size; place += part, out += part, size -= part) {
        part = size < AT_ONCE ? size : AT_ONCE, plan.count = 0;
        if (plan_pages(p, place / PAGE, place % PAGE, part, &plan, 0, 0) || plan_read(p, &plan, 0, part, out, 0))
            return -1;
    }
    return 0;
}

// Find out where `size` bytes from `offset` on are, without waiting for a disk. -1: that can't be done here.
int extents_plan(const Extents *e, uint64_t offset, uint64_t size, Plan *plan) {
    int64_t found = last_up_to(e->start, e->count, offset);
    plan->count = 0;
    for (uint64_t k = found; size; k++) {
        if (found < 0 || k >= e->count || e->start[k] > offset || e->end[k] <= offset) return -1;
        uint64_t part = e->end[k] - offset < size ? e->end[k] - offset : size;
        uint64_t place = e->place[k] + offset - e->start[k];
        if (e->place[k] == ALL_ZEROS ? add(plan, ALL_ZEROS, 0, part)
                                     : plan_pages(e->pages, place / PAGE, place % PAGE, part, plan, e->pages->flags, 0))
            return -1;
        size -= part, offset += part;
    }
    return 0;
}
