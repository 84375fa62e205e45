/* The floor of reading: libpcap's own loop over a savefile, with a callback that only counts.
 *
 * usage: count_savefile FILE
 */
#define _GNU_SOURCE
#include <pcap/pcap.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

static void count(u_char *user, const struct pcap_pkthdr *header, const u_char *data)
{
    (void)header;
    (void)data;
    ++*(unsigned long *)user;
}

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
    char message[PCAP_ERRBUF_SIZE] = "";
    unsigned long packets = 0;

    if (argc != 2) {
        fprintf(stderr, "usage: %s FILE\n", argv[0]);
        return 2;
    }
    double wall = seconds(CLOCK_MONOTONIC);
    double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    pcap_t *handle = pcap_open_offline(argv[1], message);
    if (handle == NULL) {
        fprintf(stderr, "%s\n", message);
        return 1;
    }
    int status = pcap_loop(handle, -1, count, (u_char *)&packets);
    if (status != 0)
        pcap_perror(handle, argv[1]);
    pcap_close(handle);
    wall = seconds(CLOCK_MONOTONIC) - wall;
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf("{\"packets\": %lu, \"seconds\": %.9f, \"cpu\": %.9f}\n", packets, wall, cpu);
    return status != 0;
}
