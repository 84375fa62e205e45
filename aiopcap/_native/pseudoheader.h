#ifndef AIOPCAP_PSEUDOHEADER_H
#define AIOPCAP_PSEUDOHEADER_H

#include <stdint.h>

void aiopcap_swap_pseudo_header(uint32_t linktype, uint8_t *data, uint32_t length);

#endif
