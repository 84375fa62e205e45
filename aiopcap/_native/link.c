/* What the kernel says of the device behind a packet socket. */
#include "link.h"

#ifdef __linux__
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#endif

/* Whether it is a packet socket: frames can go out by it, beside libpcap. */
int aiopcap_sends_by_socket(int fd)
{
#ifdef __linux__
    int domain = 0;
    socklen_t size = sizeof domain;

    return fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0
           && domain == AF_PACKET;
#else
    (void)fd;
    return 0;
#endif
}

/* What became of the device that a packet socket is bound to: 1 up, 0 down, -1 gone. */
int aiopcap_link_state(int fd)
{
#ifdef __linux__
    struct sockaddr_ll bound;
    socklen_t size = sizeof bound;
    struct ifreq request;

    memset(&bound, 0, sizeof bound);
    memset(&request, 0, sizeof request);
    if (getsockname(fd, (struct sockaddr *)(void *)&bound, &size) < 0)
        return 1;
    /* The kernel unbinds the socket when the device is removed. */
    if (bound.sll_ifindex < 0)
        return -1;
    request.ifr_ifindex = bound.sll_ifindex;
    if (ioctl(fd, SIOCGIFNAME, &request) < 0)
        return errno == ENODEV || errno == ENXIO ? -1 : 1;
    if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
        return errno == ENODEV || errno == ENXIO ? -1 : 1;
    return (request.ifr_flags & IFF_UP) != 0;
#else
    (void)fd;
    return 1;
#endif
}
