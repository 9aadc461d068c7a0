// The inner loop of finding out where the pages of a snapshot are. native.py calls it through ctypes; scan.py does the
// same with regular expressions and numpy where no compiler was there to build this, and judges what is unusual.
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WINDOW = 256 << 10 };    // read at a time: it stays in a core's cache while it is looked at
enum { RAW_SIZE = 1 + 1024 };  // bytes of the description of a raw page
enum { DIGITS = 17, REFERENCE_MAX = 1 + 2 * 18 };  // what is longer is for scan.py to judge, or shorter than a word
enum { WORDS = (REFERENCE_MAX + 7) / 8 };

typedef struct {
    uint64_t *first, *position;
    uint32_t *stride;
    uint16_t *number_at;
    uint8_t *kind;
} Runs;  // columns: as scan.py describes them

static uint64_t skip(const uint8_t *window, uint64_t at, uint64_t size, int digits) {
    if (digits) while (at < size && window[at] >= '0' && window[at] <= '9') at++;
    else while (at < size && window[at] == ' ') at++;
    return at;
}

// What a reference must be to be like another: the same up to the number of its offset, and there with digits where the
// other has digits. By words of 8 bytes, of which the last one may overlap the one before.
typedef struct {
    uint64_t words, at[WORDS], like[WORDS], slack[WORDS];
} Likeness;

static Likeness likeness(const uint8_t *reference, uint64_t number_at, uint64_t stride) {
    Likeness l = {.words = (stride + 7) / 8};
    for (uint64_t k = 0; k < l.words; k++) {
        uint8_t like[8], slack[8];
        l.at[k] = 8 * k + 8 <= stride ? 8 * k : stride - 8;
        for (uint64_t j = 0; j < 8; j++) {
            uint8_t byte = reference[l.at[k] + j];
            int is_free = l.at[k] + j >= number_at && byte != ' ';
            like[j] = is_free ? '0' : byte;      // digits differ from '0' by 0 to 9,
            slack[j] = is_free ? 0x7f - 9 : 0x7f;  // which does not reach the highest bit; all else must not differ
        }
        memcpy(&l.like[k], like, 8), memcpy(&l.slack[k], slack, 8);
    }
    return l;
}

static int is_alike(const Likeness *l, const uint8_t *reference) {
    uint64_t differ = 0;
    for (uint64_t k = 0; k < l->words; k++) {
        uint64_t word;
        memcpy(&word, reference + l->at[k], 8);
        word ^= l->like[k];
        differ |= word | (word + l->slack[k]);
    }
    return !(differ & 0x8080808080808080);
}

// Find runs of page descriptions of whole pages, at most `*count`, from `*at` on in the `size` bytes of `window`,
// which begin at `base` in the file; `*next` is the number of the first. Stops, with all three advanced, where the
// window ends within a description, at what only scan.py can judge, or at `room` runs. `found` are there already, up to
// these pages; returns how many there are now.
static uint64_t find(const uint8_t *window, uint64_t size, uint64_t base, uint64_t *at, uint64_t *count,
                     uint64_t *next, const Runs *runs, uint64_t found, uint64_t room) {
    uint64_t here = *at, left = *count, number = *next;
    while (left && found < room && here < size) {
        uint8_t kind = window[here];
        uint64_t length = 0, stride = 1, number_at = 0;
        if (kind == 'z') {
            while (length < left && here + length < size && window[here + length] == 'z') length++;
        } else if (kind == 'r') {
            stride = RAW_SIZE;
            while (length < left && here + (length + 1) * stride <= size && window[here + length * stride] == 'r')
                length++;
        } else if (kind == 'm' || kind == 't') {
            uint64_t pid = skip(window, here + 1, size, 0), pid_end = skip(window, pid, size, 1);
            uint64_t offset = skip(window, pid_end, size, 0), offset_end = skip(window, offset, size, 1);
            uint64_t end = skip(window, offset_end, size, 0);
            stride = end - here, number_at = offset - here;
            if (end == size || pid == pid_end || pid_end == offset || offset == offset_end || offset_end == end ||
                pid_end - pid > DIGITS || offset_end - offset > DIGITS || stride > REFERENCE_MAX || stride < 8)
                break;
            Likeness like = likeness(window + here, number_at, stride);
            for (length = 1; length < left; length++) {
                const uint8_t *other = window + here + length * stride;
                if (here + (length + 1) * stride >= size || other[stride] == ' ' || !is_alike(&like, other)) break;
            }
        }
        if (!length) break;
        int goes_on = found && runs->kind[found - 1] == kind && (kind == 'z' || kind == 'r');
        if (!goes_on) {
            runs->first[found] = number, runs->position[found] = base + here, runs->stride[found] = stride;
            runs->number_at[found] = number_at, runs->kind[found] = kind;
            found++;
        }
        here += length * stride, number += length, left -= length;
    }
    *at = here, *count = left, *next = number;
    return found;
}

// Find runs in a window, the first ones of them.
uint64_t scan_pages(const uint8_t *window, uint64_t size, uint64_t base, uint64_t *at, uint64_t *count,
                    uint64_t *next, Runs runs, uint64_t room) {
    return find(window, size, base, at, count, next, &runs, 0, room);
}

// Find runs in the file `fd`, from `*position` on, in about `most` bytes. It stops as `find` does, and where the file
// cannot be read.
uint64_t scan_file(int fd, uint64_t most, uint64_t *position, uint64_t *count, uint64_t *next, Runs runs,
                   uint64_t room) {
    uint8_t *window = malloc(WINDOW);
    uint64_t found = 0, end = *position + most;
    while (window && *count && found < room && *position < end) {
        ssize_t size = pread(fd, window, WINDOW, (off_t)*position);
        uint64_t at = 0;
        if (size > 0) found = find(window, size, *position, &at, count, next, &runs, found, room);
        if (!at) break;
        *position += at;
    }
    free(window);
    return found;
}
