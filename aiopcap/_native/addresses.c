/* Socket addresses as text, so that the families' structures stay on this side of the border. */
#include "addresses.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#ifdef __linux__
#include <linux/if_packet.h>
#elif defined(AF_LINK)
#include <net/if_dl.h>
#endif

static int link_layer_text(const uint8_t *bytes, size_t length, char *text, size_t size)
{
    size_t i;

    if (length == 0 || size < length * 3)
        return 0;
    for (i = 0; i < length; i++)
        snprintf(text + i * 3, 4, i + 1 < length ? "%02x:" : "%02x", bytes[i]);
    return 3;
}

/* Write the address and return 1 for IPv4, 2 for IPv6, 3 for link layer; 0 for any other. */
int aiopcap_address_text(const struct sockaddr *address, char *text, size_t size)
{
    if (address == NULL)
        return 0;
    switch (address->sa_family) {
    case AF_INET: {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        return inet_ntop(AF_INET, &in.sin_addr, text, (socklen_t)size) ? 1 : 0;
    }
    case AF_INET6: {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof in6);
        return inet_ntop(AF_INET6, &in6.sin6_addr, text, (socklen_t)size) ? 2 : 0;
    }
#ifdef __linux__
    case AF_PACKET: {
        const struct sockaddr_ll *ll = (const struct sockaddr_ll *)(const void *)address;
        size_t length = ll->sll_halen <= sizeof ll->sll_addr ? ll->sll_halen : 0;
        return link_layer_text(ll->sll_addr, length, text, size);
    }
#elif defined(AF_LINK)
    case AF_LINK: {
        const struct sockaddr_dl *dl = (const struct sockaddr_dl *)(const void *)address;
        return link_layer_text((const uint8_t *)LLADDR(dl), dl->sdl_alen, text, size);
    }
#endif
    default:
        return 0;
    }
}
