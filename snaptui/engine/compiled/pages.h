// Pages of a snapshot, read at random: what pages.c and inbox.c share with what Python hands over.
#ifndef SNAPTUI_PAGES_H
#define SNAPTUI_PAGES_H

#include <stdint.h>

#define ALL_ZEROS UINT64_MAX

// The segments of one memory or text image that do not overlap: where references to it lead.
typedef struct {
    uint64_t pid, kind;
    uint64_t first, count;  // of its spans
} Image;

typedef struct {
    uint64_t offset, length;  // bytes, in the image
    uint64_t page;            // the number of its first page in the file
} Span;

// Where all pages of a plain snapshot are: the columns of scan.py's runs, and what references need. All belongs to
// Python, and never changes.
typedef struct {
    int fd;
    int flags;  // of preadv2 where nobody may have to wait: RWF_NOWAIT, or 0 in memory
    int64_t size, seconds, nanoseconds;  // of the file and its last change, when it was opened
    uint64_t runs;
    const uint64_t *first, *position;
    const uint32_t *stride;
    const uint16_t *number_at;
    const uint8_t *kind;
    uint64_t images;
    const Image *image;  // by pid and kind
    const Span *span;    // by offset within an image
    uint64_t shorter_count;
    const uint64_t *shorter;  // the numbers of the pages that are shorter than others, ascending
} Pages;

// A file that is served: pieces of it, ascending, not overlapping; what is in none of them is not ours to answer.
typedef struct {
    const Pages *pages;
    uint64_t count;
    const uint64_t *start, *end;  // bytes, in the file
    const uint64_t *place;  // where its first byte is: number of a page * 1024 + byte in it; or ALL_ZEROS
} Extents;

enum { PIECES = 1100 };  // of 1 MiB, if each page of it comes from another place

// Bytes that lie in the file one after the other, but for the flags between pages.
typedef struct {
    uint64_t position;     // of the description of the first page; or ALL_ZEROS
    uint32_t begin, size;  // the byte of that page, and how many there are
} Piece;

// Where the bytes of a read are, references followed: reading them can fail only with the disk.
typedef struct {
    uint64_t count;
    Piece piece[PIECES];
} Plan;

int pages_unchanged(const Pages *p);
int extents_plan(const Extents *e, uint64_t offset, uint64_t size, Plan *plan);
int plan_read(const Pages *p, const Plan *plan, uint64_t offset, uint64_t size, uint8_t *out, int flags);

#endif
