/*
 * Link types whose packets begin with numbers in the byte order of the capturing machine.
 *
 * A savefile from a machine of the other order has them swapped, and as libpcap does, they are
 * put into this machine's: filters and dissectors read them so, and a copy of the file written
 * here says so.  Layouts: https://www.tcpdump.org/linktypes/LINKTYPE_USB_LINUX.html and
 * https://www.tcpdump.org/linktypes/LINKTYPE_NFLOG.html
 */
#include "pseudoheader.h"

#include "wire.h"

enum { LINKTYPE_USB_LINUX = 189, LINKTYPE_USB_LINUX_MMAPPED = 220, LINKTYPE_NFLOG = 239 };

enum { USB_ISOCHRONOUS = 0, USB_TRANSFER_TYPE = 9, USB_LONG_HEADER = 64 };

typedef struct {
    uint8_t offset, size;
} field;

static void swap(uint8_t *at, uint32_t size)
{
    uint32_t i;

    for (i = 0; i < size / 2; i++) {
        uint8_t byte = at[i];
        at[i] = at[size - 1 - i];
        at[size - 1 - i] = byte;
    }
}

/* Fields that a cut packet does not have whole stay as they are, and so do all behind them. */
static int swap_fields(const field *fields, size_t count, uint8_t *data, uint32_t length)
{
    size_t i;

    for (i = 0; i < count; i++) {
        if (fields[i].offset + (uint32_t)fields[i].size > length)
            return 0;
        swap(data + fields[i].offset, fields[i].size);
    }
    return 1;
}

#define SWAP_FIELDS(fields, data, length) \
    swap_fields(fields, sizeof(fields) / sizeof(fields)[0], data, length)

static void swap_usb(uint8_t *data, uint32_t length, int mmapped)
{
    static const field COMMON[] = {{0, 8}, {12, 2}, {16, 8}, {24, 4}, {28, 4}, {32, 4}, {36, 4}};
    static const field ISOCHRONOUS[] = {{40, 4}, {44, 4}};
    static const field MMAPPED[] = {{48, 4}, {52, 4}, {56, 4}, {60, 4}};
    uint32_t at, descriptors;
    int isochronous;

    if (!SWAP_FIELDS(COMMON, data, length))
        return;
    isochronous = data[USB_TRANSFER_TYPE] == USB_ISOCHRONOUS;
    if (isochronous && !SWAP_FIELDS(ISOCHRONOUS, data, length))
        return;
    if (!mmapped || !SWAP_FIELDS(MMAPPED, data, length) || !isochronous)
        return;
    /* A status, an offset, a length and padding for each part of an isochronous transfer. */
    descriptors = aiopcap_u32(data + 60, 0);
    for (at = USB_LONG_HEADER; descriptors > 0 && at < length; descriptors--, at += 16) {
        static const field DESCRIPTOR[] = {{0, 4}, {4, 4}, {8, 4}};
        if (!SWAP_FIELDS(DESCRIPTOR, data + at, length - at))
            return;
    }
}

static void swap_nflog(uint8_t *data, uint32_t length)
{
    enum { HEADER = 4, VERSION = 1, TLV_HEADER = 4 };
    uint32_t at = HEADER;

    if (length < HEADER || data[VERSION] != 0)
        return;
    while (length - at >= TLV_HEADER) {
        uint32_t size;

        swap(data + at, 2);
        swap(data + at + 2, 2);
        size = aiopcap_u16(data + at, 0);
        size = (size + 3) & ~UINT32_C(3);
        if (size < TLV_HEADER || size > length - at)
            return;
        at += size;
    }
}

void aiopcap_swap_pseudo_header(uint32_t linktype, uint8_t *data, uint32_t length)
{
    if (linktype == LINKTYPE_USB_LINUX || linktype == LINKTYPE_USB_LINUX_MMAPPED)
        swap_usb(data, length, linktype == LINKTYPE_USB_LINUX_MMAPPED);
    else if (linktype == LINKTYPE_NFLOG)
        swap_nflog(data, length);
}
