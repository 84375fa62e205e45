/* The classic format: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html */
#include "savefile.h"

#include "pseudoheader.h"
#include "wire.h"

enum { FILE_HEADER = 24, RECORD_HEADER = 16, MODIFIED_RECORD_HEADER = 24 };

enum { LINKTYPE_ETHERNET = 1, ETHERNET_HEADER = 14 };

/* Before 2.4 the two lengths were the other way round; 2.3 was written both ways. */
enum { NOT_SWAPPED = 0, SWAPPED = 1, MAYBE_SWAPPED = 2 };

static int file_header(aiopcap_savefile *file, const uint8_t *data, size_t length, int at_end,
                       size_t *consumed, size_t *wanted)
{
    uint32_t magic = aiopcap_u32(data, 0), network, snaplen;

    *wanted = FILE_HEADER;
    if (length < FILE_HEADER)
        return at_end
                   ? aiopcap_savefile_fail(
                         file, AIOPCAP_SCAN_TRUNCATED,
                         "truncated dump file; tried to read %d file header bytes, only got %zu",
                         FILE_HEADER, length)
                   : AIOPCAP_SCAN_MORE;
    file->swapped = magic == 0xd4c3b2a1 || magic == 0x4d3cb2a1 || magic == 0x34cdb2a1;
    magic = aiopcap_u32(data, file->swapped);
    file->digits = magic == 0xa1b23c4d ? 9 : 6;
    file->record_header = magic == 0xa1b2cd34 ? MODIFIED_RECORD_HEADER : RECORD_HEADER;
    file->major = aiopcap_u16(data + 4, file->swapped);
    file->minor = aiopcap_u16(data + 6, file->swapped);
    if (file->major < 2)
        return aiopcap_savefile_fail(file, AIOPCAP_SCAN_INVALID, "archaic pcap savefile format");
    /* 543.0 is what DG/UX's tcpdump wrote. */
    if (!(file->major == 2 && file->minor <= 4) && !(file->major == 543 && file->minor == 0))
        return aiopcap_savefile_fail(file, AIOPCAP_SCAN_INVALID,
                                     "unsupported pcap savefile version %u.%u", file->major,
                                     file->minor);
    file->lengths_swapped = file->major == 543 || file->minor < 3 ? SWAPPED
                            : file->minor == 3                    ? MAYBE_SWAPPED
                                                                  : NOT_SWAPPED;
    snaplen = aiopcap_u32(data + 16, file->swapped);
    network = aiopcap_u32(data + 20, file->swapped);
    if (network & 0x03ff0000)
        return aiopcap_savefile_fail(file, AIOPCAP_SCAN_INVALID,
                                     "savefile linktype reserved bits not zero (0x%08x)",
                                     network & 0x03ff0000);
    file->linktype = network & 0xffff;
    file->checksum_bits = network & 0xfc000000;
    file->snaplen = snaplen == 0 || snaplen > INT32_MAX
                        ? aiopcap_savefile_limit(file->linktype, 0)
                        : snaplen;
    /* These files count the snaplen without the Ethernet header; libpcap makes up for it as well. */
    if (file->record_header == MODIFIED_RECORD_HEADER && file->linktype == LINKTYPE_ETHERNET)
        file->snaplen += ETHERNET_HEADER;
    file->ready = 1;
    *consumed = FILE_HEADER;
    *wanted = file->record_header;
    return AIOPCAP_SCAN_MORE;
}

static int cut_short(aiopcap_savefile *file, int at_end, const char *what, size_t tried, size_t got)
{
    if (!at_end || got == 0)
        return AIOPCAP_SCAN_MORE;
    return aiopcap_savefile_fail(file, AIOPCAP_SCAN_TRUNCATED,
                                 "truncated dump file; tried to read %zu %s bytes, only got %zu",
                                 tried, what, got);
}

int aiopcap_pcap_scan(aiopcap_savefile *file, uint8_t *data, size_t length, int at_end,
                      aiopcap_batch *batch, size_t *consumed,
                      size_t *wanted)
{
    const int swapped = file->swapped;
    const uint32_t header = file->record_header;
    const int64_t ns_per_fraction = file->digits == 9 ? 1 : 1000;
    const uint32_t limit = aiopcap_savefile_limit(file->linktype, file->snaplen);
    uint32_t row = 0;
    size_t at = 0;
    int status = AIOPCAP_SCAN_MORE;

    if (!file->ready)
        return file_header(file, data, length, at_end, consumed, wanted);
    for (;;) {
        uint32_t captured, wire;
        uint8_t *record = data + at;
        size_t left = length - at;

        *wanted = header;
        if (left < header) {
            status = cut_short(file, at_end, "header", header, left);
            break;
        }
        captured = aiopcap_u32(record + 8, swapped);
        wire = aiopcap_u32(record + 12, swapped);
        if (file->lengths_swapped == SWAPPED
            || (file->lengths_swapped == MAYBE_SWAPPED && captured > wire)) {
            uint32_t other = captured;
            captured = wire;
            wire = other;
        }
        if (captured > limit) {
            status = aiopcap_savefile_fail(
                file, AIOPCAP_SCAN_INVALID,
                "invalid packet capture length %u, bigger than %s of %u", captured,
                limit > file->snaplen ? "snaplen" : "maximum",
                limit > file->snaplen ? file->snaplen : limit);
            break;
        }
        *wanted = (size_t)header + captured;
        if (left - header < captured) {
            status = cut_short(file, at_end, "captured", captured, left - header);
            if (at_end && status == AIOPCAP_SCAN_MORE)
                status = aiopcap_savefile_fail(
                    file, AIOPCAP_SCAN_TRUNCATED,
                    "truncated dump file; tried to read %u captured bytes, only got 0", captured);
            break;
        }
        if (row == batch->capacity) {
            status = AIOPCAP_SCAN_FULL;
            break;
        }
        at += *wanted;
        /* Some systems wrote packets longer than the file's snaplen; libpcap cuts them too. */
        if (captured > file->snaplen)
            captured = file->snaplen;
        if (swapped)
            aiopcap_swap_pseudo_header(file->linktype, record + header, captured);
        batch->timestamps_ns[row] = (int64_t)aiopcap_u32(record, swapped) * 1000000000
                                    + (int64_t)aiopcap_u32(record + 4, swapped) * ns_per_fraction;
        batch->offsets[row] = (uint32_t)(at - *wanted + header);
        batch->captured_lengths[row] = captured;
        batch->wire_lengths[row] = wire;
        batch->interfaces[row] = AIOPCAP_NO_INTERFACE;
        row++;
    }
    batch->count = row;
    *consumed = at;
    return status;
}
