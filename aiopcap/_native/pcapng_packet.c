/* The packet blocks of pcapng: their fields, times and options, as rows of a batch. */
#include "pcapng_packet.h"

#include "pseudoheader.h"
#include "wire.h"

enum {
    OPTION_PACKET_FLAGS = 2,
    OPTION_PACKET_DROPPED = 4,
    OPTION_PACKET_ID = 5,
    OPTION_PACKET_QUEUE = 6,
    OPTION_CUSTOM_TEXT = 2988,
    OPTION_CUSTOM_BYTES = 2989,
    OPTION_CUSTOM_TEXT_UNCOPIED = 19372,
    OPTION_CUSTOM_BYTES_UNCOPIED = 19373
};

/* 64 bits of units times 10^9 do not fit in 64. */
__extension__ typedef __int128 wide;
__extension__ typedef unsigned __int128 wide_unsigned;

static int time_ns(const aiopcap_interface *interface, uint64_t units, int64_t *result)
{
    static const uint64_t POWERS[] = {1u, 10u, 100u, 1000u, 10000u, 100000u, 1000000u, 10000000u,
                                      100000000u, 1000000000u};
    wide_unsigned magnitude = units;
    wide ns;

    if (interface->binary_resolution)
        magnitude = magnitude * 1000000000u >> interface->exponent;
    else if (interface->exponent <= 9)
        magnitude *= POWERS[9 - interface->exponent];
    else
        magnitude = magnitude / POWERS[(interface->exponent - 9) / 2]
                    / POWERS[(interface->exponent - 9) - (interface->exponent - 9) / 2];
    ns = (wide)magnitude + (wide)interface->offset_seconds * 1000000000;
    *result = (int64_t)ns;
    return ns >= INT64_MIN && ns <= INT64_MAX;
}

typedef struct {
    uint32_t interface;
    uint64_t units;
    uint32_t captured, wire;
    size_t data_offset;         /* from the body's start */
    size_t options_length;
    int timed;
} packet_block;

static int packet_fields(aiopcap_savefile *file, uint32_t type, const uint8_t *body, size_t length,
                         packet_block *packet)
{
    const int swapped = file->swapped;
    const size_t fixed = type == BLOCK_SIMPLE_PACKET ? 4 : 20;
    const aiopcap_interface *interface;

    if (length < fixed)
        return aiopcap_savefile_fail(file, AIOPCAP_SCAN_INVALID,
                                     "packet block in pcapng dump file has a length of %zu < %zu",
                                     length + BLOCK_LEAST, fixed + BLOCK_LEAST);
    packet->interface = type == BLOCK_SIMPLE_PACKET ? 0
                        : type == BLOCK_PACKET      ? aiopcap_u16(body, swapped)
                                                    : aiopcap_u32(body, swapped);
    if (packet->interface >= file->interface_count)
        return aiopcap_savefile_fail(file, AIOPCAP_SCAN_INVALID,
                                     "a packet arrived on interface %u, but there's no Interface "
                                     "Description Block for that interface",
                                     packet->interface);
    interface = &file->interfaces[packet->interface];
    packet->data_offset = fixed;
    packet->timed = type != BLOCK_SIMPLE_PACKET;
    packet->units = 0;
    if (packet->timed) {
        packet->units = (uint64_t)aiopcap_u32(body + 4, swapped) << 32
                        | aiopcap_u32(body + 8, swapped);
        packet->captured = aiopcap_u32(body + 12, swapped);
        packet->wire = aiopcap_u32(body + 16, swapped);
    } else {
        packet->wire = aiopcap_u32(body, swapped);
        packet->captured = interface->snaplen != 0 && packet->wire > interface->snaplen
                               ? interface->snaplen
                               : packet->wire;
    }
    if (packet->captured > length - fixed)
        return aiopcap_savefile_fail(
            file, AIOPCAP_SCAN_INVALID,
            "invalid packet capture length %u, bigger than the %zu bytes in its block",
            packet->captured, length - fixed);
    if (packet->captured > aiopcap_savefile_limit(interface->linktype, interface->snaplen))
        return aiopcap_savefile_fail(file, AIOPCAP_SCAN_INVALID,
                                     "invalid packet capture length %u, bigger than maximum of %u",
                                     packet->captured,
                                     aiopcap_savefile_limit(interface->linktype, interface->snaplen));
    packet->options_length = packet->timed ? (length - fixed - packet->captured) & ~(size_t)3 : 0;
    return 0;
}

/* How many bytes at the front of an option's value are one number, in the section's byte order. */
static size_t number_size(uint16_t code)
{
    switch (code) {
    case OPTION_PACKET_FLAGS:
    case OPTION_PACKET_QUEUE:
    case OPTION_CUSTOM_TEXT:            /* a private enterprise number, and something behind it */
    case OPTION_CUSTOM_BYTES:
    case OPTION_CUSTOM_TEXT_UNCOPIED:
    case OPTION_CUSTOM_BYTES_UNCOPIED:
        return 4;
    case OPTION_PACKET_DROPPED:
    case OPTION_PACKET_ID:
        return 8;
    default:
        return 0;
    }
}

static void reverse(uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length / 2; i++) {
        uint8_t byte = bytes[i];
        bytes[i] = bytes[length - 1 - i];
        bytes[length - 1 - i] = byte;
    }
}

/* Bring a packet's options to this machine's byte order; returns the length of the sound ones. */
static uint32_t packet_options(const aiopcap_savefile *file, uint8_t *options, size_t length)
{
    size_t at = 0;

    while (length - at >= 4) {
        uint16_t code = aiopcap_u16(options + at, file->swapped);
        size_t size = aiopcap_u16(options + at + 2, file->swapped);
        size_t padded = (size + 3) & ~(size_t)3;
        size_t number = number_size(code);

        if (code == OPTION_END || padded > length - at - 4)
            break;
        if (file->swapped) {
            reverse(options + at, 2);
            reverse(options + at + 2, 2);
            if (size >= number)
                reverse(options + at + 4, number);
        }
        at += 4 + padded;
    }
    return (uint32_t)at;
}

static int packet_row(aiopcap_savefile *file, const packet_block *packet, uint8_t *body,
                      size_t body_offset, aiopcap_batch *batch)
{
    const aiopcap_interface *interface = &file->interfaces[packet->interface];
    uint8_t *data = body + packet->data_offset;
    uint32_t row = batch->count;
    uint32_t padded = (packet->captured + 3) & ~(uint32_t)3, options = 0;
    int64_t timestamp_ns = 0;

    if (row == batch->capacity || (row > 0 && interface->linktype != file->rows_linktype))
        return AIOPCAP_SCAN_FULL;
    if (packet->timed && !time_ns(interface, packet->units, &timestamp_ns))
        return aiopcap_savefile_fail(file, AIOPCAP_SCAN_INVALID,
                                     "a packet's time stamp is out of range");
    file->rows_linktype = interface->linktype;
    if (file->swapped)
        aiopcap_swap_pseudo_header(interface->linktype, data, packet->captured);
    if (packet->options_length > 0)
        options = packet_options(file, data + padded, packet->options_length);
    file->rows_have_options |= options > 0;
    batch->timestamps_ns[row] = timestamp_ns;
    batch->offsets[row] = (uint32_t)(body_offset + packet->data_offset);
    batch->captured_lengths[row] = packet->captured;
    batch->wire_lengths[row] = packet->wire;
    batch->interfaces[row] = packet->interface;
    batch->options_lengths[row] = options;
    batch->count = row + 1;
    return 0;
}

/* Add the row of a packet's block; returns 0, or a status of the scan. */
int aiopcap_pcapng_packet(aiopcap_savefile *file, uint32_t type, uint8_t *body, size_t length,
                          size_t body_offset, aiopcap_batch *batch)
{
    packet_block packet = {0};
    int status = packet_fields(file, type, body, length, &packet);

    return status < 0 ? status : packet_row(file, &packet, body, body_offset, batch);
}
