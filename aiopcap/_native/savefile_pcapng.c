/*
 * pcapng: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-02.html
 *
 * Packets of every section and interface, in either byte order.  libpcap refuses interfaces that
 * differ in link type, snaplen or time resolution; here they are read, and the rows of one scan have
 * one link type.
 */
#include "savefile.h"

#include <stdlib.h>

#include "pcapng_packet.h"
#include "wire.h"

enum {
    OPTION_TIME_RESOLUTION = 9,
    OPTION_TIME_OFFSET = 14
};

enum { LINKTYPE_ETHERNET = 1 };

/* These only bound what a damaged file can cost; libpcap's first limit on blocks is the same. */
enum {
    BLOCK_MOST = 16 * 1024 * 1024,
    BLOCK_OVERHEAD_MOST = 64 * 1024,
    INTERFACES_MOST = 65536,
    KEPT_MOST = 1024 * 1024
};

static const uint32_t BYTE_ORDER_MAGIC = 0x1a2b3c4d;

static int section_block(aiopcap_savefile *file, const uint8_t *body)
{
    uint16_t major = aiopcap_u16(body + 4, file->swapped);
    uint16_t minor = aiopcap_u16(body + 6, file->swapped);

    if (major != 1 || (minor != 0 && minor != 2))
        return aiopcap_savefile_fail(file, AIOPCAP_SCAN_INVALID,
                                     "unsupported pcapng savefile version %u.%u", major, minor);
    file->major = major;
    file->minor = minor;
    file->interface_count = 0;
    return 0;
}

static int interface_options(aiopcap_savefile *file, aiopcap_interface *interface,
                             const uint8_t *at, size_t left)
{
    while (left >= 4) {
        uint16_t code = aiopcap_u16(at, file->swapped);
        size_t length = aiopcap_u16(at + 2, file->swapped);
        size_t padded = (length + 3) & ~(size_t)3;
        const uint8_t *value = at + 4;

        if (code == OPTION_END)
            break;
        if (padded > left - 4)
            return aiopcap_savefile_fail(
                file, AIOPCAP_SCAN_INVALID,
                "block in pcapng dump file has an option that runs past its end");
        if (code == OPTION_TIME_RESOLUTION && length == 1) {
            interface->binary_resolution = value[0] & 0x80;
            interface->exponent = value[0] & 0x7f;
        } else if (code == OPTION_TIME_OFFSET && length == 8) {
            interface->offset_seconds = (int64_t)aiopcap_u64(value, file->swapped);
        }
        at += 4 + padded;
        left -= 4 + padded;
    }
    if (interface->binary_resolution ? interface->exponent > 63 : interface->exponent > 19)
        return aiopcap_savefile_fail(
            file, AIOPCAP_SCAN_INVALID, "Interface Description Block has an if_tsresol of %s^-%u",
            interface->binary_resolution ? "2" : "10", interface->exponent);
    return 0;
}

static int interface_block(aiopcap_savefile *file, const uint8_t *body, size_t length)
{
    aiopcap_interface *interface;
    uint32_t largest;
    int status;

    if (length < 8)
        return aiopcap_savefile_fail(file, AIOPCAP_SCAN_INVALID,
                                     "Interface Description Block of %zu bytes is too short",
                                     length + BLOCK_LEAST);
    if (file->interface_count == INTERFACES_MOST)
        return aiopcap_savefile_fail(file, AIOPCAP_SCAN_INVALID, "more than %d interfaces",
                                     INTERFACES_MOST);
    if (file->interface_count == file->interface_capacity) {
        uint32_t capacity = file->interface_capacity ? file->interface_capacity * 2 : 4;
        aiopcap_interface *grown = realloc(file->interfaces, capacity * sizeof *grown);
        if (grown == NULL)
            return aiopcap_savefile_fail(file, AIOPCAP_SCAN_INVALID, "out of memory");
        file->interfaces = grown;
        file->interface_capacity = capacity;
    }
    interface = &file->interfaces[file->interface_count];
    memset(interface, 0, sizeof *interface);
    interface->linktype = aiopcap_u16(body, file->swapped);
    interface->snaplen = aiopcap_u32(body + 4, file->swapped);
    interface->exponent = 6;
    status = interface_options(file, interface, body + 8, length - 8);
    if (status < 0)
        return status;
    if (!file->ready) {
        file->linktype = interface->linktype;
        file->snaplen = interface->snaplen == 0 || interface->snaplen > INT32_MAX
                            ? aiopcap_savefile_limit(interface->linktype, 0)
                            : interface->snaplen;
        file->digits = interface->binary_resolution || interface->exponent > 6 ? 9 : 6;
        file->ready = 1;
    }
    largest = aiopcap_savefile_limit(interface->linktype, 0);
    if (file->largest_packet < largest)
        file->largest_packet = largest;
    file->interface_count++;
    return 0;
}

/* More than usual where the link type's packets may be larger. */
static uint32_t block_most(const aiopcap_savefile *file)
{
    uint32_t largest = file->largest_packet;

    return largest + BLOCK_OVERHEAD_MOST > BLOCK_MOST ? largest + BLOCK_OVERHEAD_MOST : BLOCK_MOST;
}

/* The length of the block at data, 0 where more bytes are needed, or a negative status. */
static int64_t block_length(aiopcap_savefile *file, const uint8_t *data, size_t length,
                            size_t *wanted)
{
    uint32_t type, total, most, least = BLOCK_LEAST;

    *wanted = BLOCK_LEAST;
    if (length < BLOCK_LEAST)
        return 0;
    type = aiopcap_u32(data, file->swapped);
    if (type == BLOCK_SECTION) {        /* a palindrome: the byte order comes behind it */
        uint32_t magic = aiopcap_u32(data + BLOCK_HEAD, 0);
        if (magic == BYTE_ORDER_MAGIC)
            file->swapped = 0;
        else if (magic == __builtin_bswap32(BYTE_ORDER_MAGIC))
            file->swapped = 1;
        else
            return aiopcap_savefile_fail(
                file, AIOPCAP_SCAN_INVALID,
                "Section Header Block in pcapng dump file has an invalid byte order magic 0x%08x",
                magic);
        least = SECTION_LEAST;
    }
    total = aiopcap_u32(data + 4, file->swapped);
    if (total < least)
        return aiopcap_savefile_fail(file, AIOPCAP_SCAN_INVALID,
                                     "block in pcapng dump file has a length of %u < %u", total,
                                     least);
    if (total % 4 != 0)
        return aiopcap_savefile_fail(
            file, AIOPCAP_SCAN_INVALID,
            "block in pcapng dump file has a length of %u that is not a multiple of 4", total);
    most = block_most(file);
    if (total > most)
        return aiopcap_savefile_fail(file, AIOPCAP_SCAN_INVALID,
                                     "pcapng block size %u > maximum %u", total, most);
    *wanted = total;
    if (length < total)
        return 0;
    if (aiopcap_u32(data + total - 4, file->swapped) != total)
        return aiopcap_savefile_fail(file, AIOPCAP_SCAN_INVALID,
                                     "block total length in header and trailer don't match");
    return total;
}

/* Keep a block for the caller, who reads more of it than packets need. */
static int keep(aiopcap_savefile *file, const uint8_t *block, size_t total)
{
    if (total > file->kept_capacity - file->kept_size) {
        size_t capacity = 2 * (file->kept_size + total);
        uint8_t *grown = realloc(file->kept, capacity);

        if (grown == NULL)
            return aiopcap_savefile_fail(file, AIOPCAP_SCAN_INVALID, "out of memory");
        file->kept = grown;
        file->kept_capacity = capacity;
    }
    memcpy(file->kept + file->kept_size, block, total);
    file->kept_size += total;
    return 0;
}

static int kept_block(aiopcap_savefile *file, uint32_t type, const uint8_t *head, size_t total)
{
    int status = 0;

    if (file->kept_size >= KEPT_MOST)
        return AIOPCAP_SCAN_FULL;
    if (type == BLOCK_SECTION)
        status = section_block(file, head + BLOCK_HEAD);
    else if (type == BLOCK_INTERFACE)
        status = interface_block(file, head + BLOCK_HEAD, total - BLOCK_LEAST);
    return status < 0 ? status : keep(file, head, total);
}

static int block(aiopcap_savefile *file, uint8_t *data, size_t at, size_t total,
                 aiopcap_batch *batch)
{
    uint8_t *body = data + at + BLOCK_HEAD;
    size_t length = total - BLOCK_LEAST;
    uint32_t type = aiopcap_u32(data + at, file->swapped);

    switch (type) {
    case BLOCK_SECTION:
        /* The rows so far refer to the interfaces of the section before. */
        if (batch->count > 0)
            return AIOPCAP_SCAN_FULL;
        return kept_block(file, type, data + at, total);
    case BLOCK_INTERFACE:
    case BLOCK_STATISTICS:
        return kept_block(file, type, data + at, total);
    case BLOCK_PACKET:
    case BLOCK_SIMPLE_PACKET:
    case BLOCK_ENHANCED_PACKET:
        if (!file->ready)
            return aiopcap_savefile_fail(file, AIOPCAP_SCAN_INVALID,
                                         "the capture file has a packet block before any "
                                         "Interface Description Blocks");
        return aiopcap_pcapng_packet(file, type, body, length, at + BLOCK_HEAD, batch);
    default:                    /* name resolution, secrets, custom: no packets */
        file->skipped_blocks++;
        return 0;
    }
}

/* A file without interfaces is an empty one; as something has to be its link type, Ethernet's. */
static void be_empty(aiopcap_savefile *file)
{
    file->linktype = LINKTYPE_ETHERNET;
    file->snaplen = aiopcap_savefile_limit(LINKTYPE_ETHERNET, 0);
    file->digits = 6;
    file->ready = 1;
}

static int ended(aiopcap_savefile *file, size_t left, size_t wanted)
{
    if (left != 0)
        return aiopcap_savefile_fail(
            file, AIOPCAP_SCAN_TRUNCATED,
            "truncated pcapng dump file; tried to read %zu bytes, only got %zu", wanted, left);
    if (!file->ready)
        be_empty(file);
    return AIOPCAP_SCAN_MORE;
}

int aiopcap_pcapng_scan(aiopcap_savefile *file, uint8_t *data, size_t length, int at_end,
                        aiopcap_batch *batch, size_t *consumed,
                        size_t *wanted)
{
    size_t at = 0;
    int status = AIOPCAP_SCAN_MORE;

    for (;;) {
        int was_ready = file->ready;
        int64_t total = block_length(file, data + at, length - at, wanted);

        if (total < 0) {
            status = (int)total;
            break;
        }
        if (total == 0) {
            status = at_end ? ended(file, length - at, *wanted) : AIOPCAP_SCAN_MORE;
            break;
        }
        status = block(file, data, at, (size_t)total, batch);
        if (status != AIOPCAP_SCAN_MORE)
            break;
        at += (size_t)total;
        /* The caller learns the link type before the first packet, to compile a filter for it. */
        if (!was_ready && file->ready) {
            status = AIOPCAP_SCAN_FULL;
            break;
        }
    }
    *consumed = at;
    return status;
}
