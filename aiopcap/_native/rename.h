#ifndef AIOPCAP_RENAME_H
#define AIOPCAP_RENAME_H

int aiopcap_rename_new(int folder, const char *from, const char *to);

#endif
