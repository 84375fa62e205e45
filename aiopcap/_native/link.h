#ifndef AIOPCAP_LINK_H
#define AIOPCAP_LINK_H

int aiopcap_sends_by_socket(int fd);
int aiopcap_link_state(int fd);

#endif
