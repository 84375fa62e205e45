#ifndef AIOPCAP_LIVE_H
#define AIOPCAP_LIVE_H

#include <pcap/pcap.h>

#include "batch.h"

int aiopcap_read_live(pcap_t *handle, aiopcap_batch *batch, uint32_t max_packets,
                      uint32_t ns_per_fraction);
int aiopcap_record_live(pcap_t *handle, uint8_t *out, size_t size, uint32_t max_packets,
                        uint32_t ns_per_fraction, int nanoseconds, uint32_t *count, size_t *used);
int aiopcap_attach_filter(int fd, const struct bpf_program *program);
int aiopcap_set_fanout(int fd, uint32_t value);

#endif
