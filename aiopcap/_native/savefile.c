/*
 * The entry to savefile parsing: which format it is, and what both formats need.
 *
 * Bytes in, rows out.  Records are found where they lie, so a packet is copied once, by read(2).
 * That is what makes it faster than libpcap's own reader, lets it take bytes from pipes as they
 * arrive, and read times after 2038, which libpcap before 1.10.5 returns as negative.
 * Texts follow libpcap's, which people know and search for.
 */
#include "savefile.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

/* libpcap's MAXIMUM_SNAPLEN, and the link types it allows more (max_snaplen_for_dlt). */
enum {
    LARGEST_PACKET = 262144,
    LARGEST_DBUS = 128 * 1024 * 1024,
    LARGEST_EBHSCR = 8 * 1024 * 1024,
    LARGEST_USBPCAP = 128 * 1024 * 1024,
    /* A file may announce a larger snaplen than that; believe it up to here. */
    LARGEST_ANNOUNCED = 16 * 1024 * 1024
};

enum { LINKTYPE_DBUS = 231, LINKTYPE_USBPCAP = 249, LINKTYPE_EBHSCR = 279 };

aiopcap_savefile *aiopcap_savefile_new(void)
{
    return calloc(1, sizeof(aiopcap_savefile));
}

void aiopcap_savefile_free(aiopcap_savefile *file)
{
    if (file != NULL) {
        free(file->interfaces);
        free(file->kept);
        free(file);
    }
}

int aiopcap_savefile_fail(aiopcap_savefile *file, int status, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(file->error, sizeof file->error, format, arguments);
    va_end(arguments);
    file->status = status;
    return status;
}

/* The most bytes that one packet may have: what is more is a lie or damage. */
uint32_t aiopcap_savefile_limit(uint32_t linktype, uint32_t snaplen)
{
    uint32_t limit = snaplen < LARGEST_ANNOUNCED ? snaplen : LARGEST_ANNOUNCED;
    uint32_t least = linktype == LINKTYPE_DBUS      ? LARGEST_DBUS
                     : linktype == LINKTYPE_USBPCAP ? LARGEST_USBPCAP
                     : linktype == LINKTYPE_EBHSCR  ? LARGEST_EBHSCR
                                                    : LARGEST_PACKET;
    return limit > least ? limit : least;
}

static int detect(aiopcap_savefile *file, const uint8_t *data, size_t length, int at_end,
                  size_t *wanted)
{
    *wanted = 4;
    if (length < 4)
        return at_end ? aiopcap_savefile_fail(
                            file, AIOPCAP_SCAN_TRUNCATED,
                            "truncated dump file; tried to read 4 file header bytes, only got %zu",
                            length)
                      : AIOPCAP_SCAN_MORE;
    switch (aiopcap_u32(data, 0)) {
    case 0x0a0d0d0a:
        file->format = AIOPCAP_FORMAT_PCAPNG;
        return AIOPCAP_SCAN_MORE;
    case 0xa1b2c3d4: case 0xd4c3b2a1:   /* microseconds */
    case 0xa1b23c4d: case 0x4d3cb2a1:   /* nanoseconds */
    case 0xa1b2cd34: case 0x34cdb2a1:   /* "modified": more in each record's header */
        file->format = AIOPCAP_FORMAT_PCAP;
        return AIOPCAP_SCAN_MORE;
    default:
        return aiopcap_savefile_fail(file, AIOPCAP_SCAN_INVALID, "unknown file format");
    }
}

/*
 * Parse what is complete in data.  Rows are added from 0 on; consumed says how many bytes are
 * done with, and wanted how many, counted from there, the next step needs at the least.
 */
int aiopcap_savefile_scan(aiopcap_savefile *file, uint8_t *data, size_t length, int at_end,
                          aiopcap_batch *batch,
                          size_t *consumed, size_t *wanted)
{
    *consumed = 0;
    *wanted = 0;
    batch->count = 0;
    file->rows_have_options = 0;
    file->kept_size = 0;
    if (file->status < 0)
        return file->status;
    if (length > UINT32_MAX)
        return aiopcap_savefile_fail(file, AIOPCAP_SCAN_INVALID, "more than 4 GiB at once");
    if (file->format == AIOPCAP_FORMAT_UNKNOWN) {
        int status = detect(file, data, length, at_end, wanted);
        if (file->format == AIOPCAP_FORMAT_UNKNOWN)
            return status;
    }
    file->rows_linktype = file->linktype;
    return file->format == AIOPCAP_FORMAT_PCAP
               ? aiopcap_pcap_scan(file, data, length, at_end, batch, consumed, wanted)
               : aiopcap_pcapng_scan(file, data, length, at_end, batch, consumed, wanted);
}
