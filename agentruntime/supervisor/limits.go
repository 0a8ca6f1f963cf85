//go:build linux

package supervisor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// oomKills returns how many processes of this control group the kernel killed
// for memory, in version 2 or 1 of control groups; 0 where it cannot be read.
// With memory.oom.group the kernel kills the supervisor, too: then the container
// ends as OOMKilled without an envelope and the platform sees that.
func oomKills(cgroup string) int64 {
	for _, file := range []string{"memory.events", "memory/memory.oom_control"} {
		data, err := os.ReadFile(filepath.Join(cgroup, file))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			if fields := strings.Fields(line); len(fields) == 2 && fields[0] == "oom_kill" {
				n, _ := strconv.ParseInt(fields[1], 10, 64)
				return n
			}
		}
	}
	return 0
}

// almostFull is the free space below which a file system counts as full: a
// little, since some blocks may be free that a larger write did not fit into.
const almostFull = 64 << 10

// diskFull reports whether dir's file system has no more space or inodes.
func diskFull(dir string) bool {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return false
	}
	return s.Bavail*uint64(s.Bsize) < almostFull || s.Files > 0 && s.Ffree == 0
}

// maxWalk bounds the search through what an agent wrote.
const maxWalk = 100_000

// usesAtLeast reports whether the files below dir occupy limit bytes. With more
// files than it wants to count it says yes.
func usesAtLeast(dir string, limit int64) bool {
	var used int64
	files := 0
	enough := errors.New("enough")
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // what cannot be read is not counted
		}
		if info, err := entry.Info(); err == nil {
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				used += stat.Blocks * 512
			}
		}
		if files++; used >= limit || files >= maxWalk {
			return enough
		}
		return nil
	})
	return errors.Is(err, enough)
}
