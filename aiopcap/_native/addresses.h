#ifndef AIOPCAP_ADDRESSES_H
#define AIOPCAP_ADDRESSES_H

#include <stddef.h>
#include <sys/types.h>
#include <sys/socket.h>

int aiopcap_address_text(const struct sockaddr *address, char *text, size_t size);

#endif
