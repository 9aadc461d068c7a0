// The inner loop of finding out where the pages of a snapshot are. native.py calls it through ctypes; scan.py does the
// same with regular expressions and numpy where no compiler was there to build this, and judges what is unusual.
#include <stdint.h>
#include <string.h>

enum { RAW_SIZE = 1 + 1024 };  // bytes of the description of a raw page
enum { DIGITS = 17, REFERENCE_MAX = 1 + 2 * 18 };  // what is longer is for scan.py to judge

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

// Whether a reference has its digits and blanks where `like` has them, from byte `from` to `stride`.
static int is_alike(const uint8_t *reference, const uint8_t *like, uint64_t from, uint64_t stride) {
    for (uint64_t k = from; k < stride; k++) {
        int blank = like[k] == ' ';
        if (blank ? reference[k] != ' ' : reference[k] < '0' || reference[k] > '9') return 0;
    }
    return 1;
}

// Find runs of page descriptions of whole pages, at most `*count`, from `*at` on in the `size` bytes of `window`,
// which begin at `base` in the file; `*next` is the number of the first. Stops, with all three advanced, where the
// window ends within a description, at what only scan.py can judge, or at `room` runs; returns how many it found.
uint64_t scan_pages(const uint8_t *window, uint64_t size, uint64_t base, uint64_t *at, uint64_t *count,
                    uint64_t *next, Runs runs, uint64_t room) {
    uint64_t here = *at, left = *count, number = *next, found = 0;
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
                pid_end - pid > DIGITS || offset_end - offset > DIGITS || stride > REFERENCE_MAX)
                break;
            for (length = 1; length < left; length++) {
                const uint8_t *other = window + here + length * stride;
                if (here + (length + 1) * stride >= size || other[stride] == ' ' ||
                    memcmp(other, window + here, number_at) || !is_alike(other, window + here, number_at, stride))
                    break;
            }
        }
        if (!length) break;
        runs.first[found] = number, runs.position[found] = base + here, runs.stride[found] = stride;
        runs.number_at[found] = number_at, runs.kind[found] = kind;
        found++;
        here += length * stride, number += length, left -= length;
    }
    *at = here, *count = left, *next = number;
    return found;
}
