/*
 * Feeds damaged savefiles to the native parser, for a sanitizer to watch.
 *
 *     savefile SECONDS SEED FILE...
 *
 * Every file is read as it is, then damaged copies of them until the time is up.  Each content is
 * read twice: whole, and in pieces of random sizes with little room for rows, each piece in a
 * block of memory of its own of exactly its size, so that a step beyond it does not go unseen.
 * Both must give the same packets and the same end.  What passes is written as records and looked
 * through again.  A content that breaks a rule is left in the file "crash".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "records.h"
#include "savefile.h"

enum { LARGEST = 4096, ROWS = 4096 };

typedef struct {
    uint8_t *bytes;
    size_t length;
} content;

/* What a reading gave, in one number. */
typedef struct {
    uint64_t digest;
    uint64_t packets;
    int status;
} outcome;

static uint64_t state;
static content current;

static uint32_t any(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % below;
}

static void require(int holds, const char *rule)
{
    FILE *file;

    if (holds)
        return;
    fprintf(stderr, "broken: %s (%zu bytes)\n", rule, current.length);
    file = fopen("crash", "wb");
    if (file != NULL) {
        fwrite(current.bytes, 1, current.length, file);
        fclose(file);
    }
    abort();
}

static uint64_t mixed(uint64_t digest, const void *data, size_t length)
{
    const uint8_t *bytes = data;
    size_t i;

    for (i = 0; i < length; i++)
        digest = (digest ^ bytes[i]) * 0x100000001b3u;
    return digest;
}

static void add_rows(outcome *result, const aiopcap_batch *batch, uint32_t linktype)
{
    uint32_t row;

    for (row = 0; row < batch->count; row++) {
        uint32_t offset = batch->offsets[row], captured = batch->captured_lengths[row];
        uint32_t options = batch->options_lengths[row];
        size_t padded = (size_t)offset + captured + (-captured & 3);

        require(offset <= batch->used && captured <= batch->used - offset,
                "a packet lies in what was consumed");
        result->digest = mixed(result->digest, &batch->timestamps_ns[row], 8);
        result->digest = mixed(result->digest, &batch->wire_lengths[row], 4);
        result->digest = mixed(result->digest, &captured, 4);
        result->digest = mixed(result->digest, &linktype, 4);
        result->digest = mixed(result->digest, batch->data + offset, captured);
        require(options == 0 || (padded <= batch->used && options <= batch->used - padded),
                "options lie in what was consumed");
        result->digest = mixed(result->digest, batch->data + padded, options);
        result->packets++;
    }
}

/* A batch that can be written is written: in two goes into room of its size, and into less. */
static void write_rows(const aiopcap_batch *batch)
{
    size_t room = 0, used = 0, rest = 0, less;
    uint32_t row, half;
    uint8_t *out;

    if (aiopcap_check_rows(batch, 262144, &row, &room) != AIOPCAP_ROW_FINE)
        return;
    out = malloc(room ? room : 1);
    require(out != NULL, "there is memory");
    half = any(batch->count + 1);
    row = aiopcap_encode_rows(batch, 0, half, (int)any(2), out, room, &used);
    require(row == half, "no more rows than asked for");
    row = aiopcap_encode_rows(batch, half, UINT32_MAX, (int)any(2), out + used, room - used, &rest);
    used += rest;
    require(row == batch->count && used == room, "records need the room that they say");
    require(aiopcap_whole_records(out, used, UINT32_MAX) == used, "whole records are whole");
    less = room ? any((uint32_t)room) : 0;
    require(aiopcap_whole_records(out, less, any(UINT32_MAX)) <= less, "what is cut is shorter");
    free(out);
    out = malloc(less ? less : 1);
    require(out != NULL, "there is memory");
    row = aiopcap_encode_rows(batch, 0, batch->count, (int)any(2), out, less, &used);
    require(row <= batch->count && used <= less, "only what fits is written");
    require(aiopcap_whole_records(out, used, UINT32_MAX) == used, "and in whole records");
    free(out);
}

static outcome read_content(const uint8_t *bytes, size_t length, int in_pieces)
{
    static int64_t timestamps_ns[ROWS];
    static uint32_t offsets[ROWS], captured[ROWS], wire[ROWS], interfaces[ROWS], options[ROWS];
    aiopcap_savefile *file = aiopcap_savefile_new();
    aiopcap_batch batch = {
        .timestamps_ns = timestamps_ns, .offsets = offsets, .captured_lengths = captured,
        .wire_lengths = wire, .interfaces = interfaces,
        .options_lengths = options,
    };
    outcome result = {0xcbf29ce484222325u, 0, 0};
    size_t start = 0, end = in_pieces ? 0 : length;
    uint32_t idle = 0;

    require(file != NULL, "there is memory");
    for (;;) {
        size_t consumed, wanted, piece = end - start;
        int at_end = end == length, status;
        uint8_t *copy = malloc(piece ? piece : 1);

        require(copy != NULL, "there is memory");
        memcpy(copy, bytes + start, piece);
        batch.capacity = !in_pieces ? ROWS : file->ready ? 1 + any(5) : any(2);
        batch.data = copy;
        memset(options, 0, sizeof options);     /* a reader of what has none leaves it alone */
        status = aiopcap_savefile_scan(file, copy, piece, at_end, &batch, &consumed, &wanted);
        batch.size = batch.used = consumed;
        require(consumed <= piece, "no more is consumed than there is");
        require(batch.count <= batch.capacity, "no more rows than there is room for");
        require(status >= 0 || file->error[0] != '\0', "an error has words");
        require(file->format != AIOPCAP_FORMAT_PCAPNG || batch.count == 0
                    || file->interface_count > 0, "packets have an interface");
        add_rows(&result, &batch, file->rows_linktype);
        write_rows(&batch);
        free(copy);
        start += consumed;
        if (status < 0) {
            size_t nothing, more;
            require(aiopcap_savefile_scan(file, NULL, 0, 1, &batch, &nothing, &more) == status
                        && nothing == 0 && batch.count == 0, "an error is final");
            result.status = status;
            break;
        }
        if (status == AIOPCAP_SCAN_MORE && consumed > 0)
            continue;       /* the file's header alone: what follows was not looked at yet */
        if (status == AIOPCAP_SCAN_MORE && at_end)
            break;
        if (status == AIOPCAP_SCAN_MORE) {
            require(wanted > end - start, "what is wanted is more than there is");
            end += 1 + any(60);
            if (end > length)
                end = length;
            idle = 0;
        } else {
            require(consumed > 0 || batch.count > 0 || batch.capacity == 0 || ++idle < 3,
                    "it gets on");
        }
    }
    aiopcap_savefile_free(file);
    return result;
}

static void try_content(content tried)
{
    outcome whole, pieces;

    current = tried;
    whole = read_content(tried.bytes, tried.length, 0);
    pieces = read_content(tried.bytes, tried.length, 1);
    require(whole.packets == pieces.packets, "pieces give as many packets");
    require(whole.digest == pieces.digest, "pieces give the same packets");
    require(whole.status == pieces.status, "pieces end the same way");
}

static void put_number(content *copy)
{
    static const uint32_t NUMBERS[] = {0, 1, 3, 4, 12, 16, 20, 24, 28, 0x7f, 0x80, 0xff, 0xffff,
                                       0x10000, 0x3ffff, 0x40000, 0x40001, 0xffffff, 0x1000000,
                                       0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff};
    uint32_t number = NUMBERS[any(sizeof NUMBERS / sizeof NUMBERS[0])];

    if (copy->length < 4)
        return;
    if (any(2))
        number = __builtin_bswap32(number);
    memcpy(copy->bytes + any((uint32_t)copy->length - 3), &number, 4);
}

static void damage(content *copy, const content *others, uint32_t count)
{
    uint32_t at = copy->length ? any((uint32_t)copy->length) : 0, size, kind = any(7);
    const content *other = &others[any(count)];

    switch (kind) {
    case 0:
    case 1:
        if (copy->length)
            copy->bytes[at] = (uint8_t)(kind ? any(256) : copy->bytes[at] ^ 1u << any(8));
        break;
    case 2:
    case 3:
        put_number(copy);
        break;
    case 4:     /* cut */
        copy->length = at;
        break;
    case 5:     /* a piece of another file put over it, which may make it longer */
        size = other->length ? any((uint32_t)other->length) : 0;
        if (at + size > LARGEST)
            size = LARGEST - at;
        memcpy(copy->bytes + at, other->bytes + other->length - size, size);
        if (at + size > copy->length)
            copy->length = at + size;
        break;
    default:    /* left out */
        size = copy->length > at ? any((uint32_t)(copy->length - at) + 1) : 0;
        memmove(copy->bytes + at, copy->bytes + at + size, copy->length - at - size);
        copy->length -= size;
    }
}

static content load(const char *path)
{
    content loaded = {malloc(LARGEST), 0};
    FILE *file = fopen(path, "rb");

    if (file == NULL || loaded.bytes == NULL) {
        perror(path);
        exit(2);
    }
    loaded.length = fread(loaded.bytes, 1, LARGEST, file);
    fclose(file);
    return loaded;
}

int main(int argc, char **argv)
{
    uint32_t count = (uint32_t)argc - 3, i;
    uint64_t tried = 0;
    content *seeds, copy;
    time_t until;

    if (argc < 4) {
        fprintf(stderr, "usage: %s SECONDS SEED FILE...\n", argv[0]);
        return 2;
    }
    until = time(NULL) + atoi(argv[1]);
    state = strtoull(argv[2], NULL, 0) * 0x9e3779b97f4a7c15u + 1;
    seeds = malloc(count * sizeof *seeds);
    copy.bytes = malloc(LARGEST);
    if (seeds == NULL || copy.bytes == NULL)
        return 2;
    for (i = 0; i < count; i++) {
        seeds[i] = load(argv[i + 3]);
        try_content(seeds[i]);
    }
    while (time(NULL) < until) {
        for (i = 0; i < 200; i++, tried++) {
            const content *seed = &seeds[any(count)];
            uint32_t times = 1 + any(5);
            memcpy(copy.bytes, seed->bytes, seed->length);
            copy.length = seed->length;
            while (times-- > 0)
                damage(&copy, seeds, count);
            try_content(copy);
        }
    }
    printf("%u files, %llu damaged copies\n", count, (unsigned long long)tried);
    for (i = 0; i < count; i++)
        free(seeds[i].bytes);
    free(seeds);
    free(copy.bytes);
    return 0;
}
