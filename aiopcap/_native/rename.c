/* Renaming that overwrites nothing, for which Python has no function. */
#include "rename.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/syscall.h>
#endif

enum { NOREPLACE = 1 };         /* RENAME_NOREPLACE of linux/fs.h, which older C libraries lack */

/* Rename within a folder, unless there is a file of the new name; returns 0 or an error number. */
int aiopcap_rename_new(int folder, const char *from, const char *to)
{
#ifdef SYS_renameat2
    if (syscall(SYS_renameat2, folder, from, folder, to, NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return errno;
#endif
    /* A system or a file system that cannot: here somebody else might take the name in between. */
    if (faccessat(folder, to, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return EEXIST;
    return renameat(folder, from, folder, to) == 0 ? 0 : errno;
}
