package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// unmountBelow takes down every mount inside the folders, the last one first:
// volumes of pods, root file systems of containers, network namespaces.
func unmountBelow(folders ...string) error {
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("read mounts: %w", err)
	}
	points := mountsBelow(string(raw), folders)
	slices.Reverse(points)
	for _, point := range points {
		if unix.Unmount(point, unix.UMOUNT_NOFOLLOW) == nil {
			continue
		}
		// Something still uses it; it goes when that ends.
		if err := unix.Unmount(point, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", point, err)
		}
	}
	return nil
}

// mountsBelow picks the mount points inside the folders from a mountinfo file,
// in the order in which they were mounted.
func mountsBelow(mountinfo string, folders []string) []string {
	var points []string
	for line := range strings.Lines(mountinfo) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		point := unescapeMount(fields[4])
		for _, folder := range folders {
			if strings.HasPrefix(point, folder+"/") {
				points = append(points, point)
				break
			}
		}
	}
	return points
}

// unescapeMount undoes the kernel's octal escapes of blanks in mountinfo.
var unescapeMount = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace

// awaitNoVeths waits until the pods' interfaces are gone: the kernel takes down a
// network namespace some time after its last user left. The host's end of each
// pair has the node's address.
func awaitNoVeths(ctx context.Context, c Cluster, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		left, err := interfacesWith(c.NodeIP)
		if err != nil {
			return err
		}
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			for _, name := range left {
				if err := run(ctx, "", "ip", "link", "delete", name); err != nil {
					return fmt.Errorf("remove interface: %w", err)
				}
			}
			return nil
		}
		<-tick.C
	}
}

func interfacesWith(ip string) ([]string, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var found []string
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if err != nil || i.Flags&net.FlagLoopback != 0 {
			continue // it went away meanwhile
		}
		for _, a := range addrs {
			if host, _, ok := strings.Cut(a.String(), "/"); ok && host == ip {
				found = append(found, i.Name)
			}
		}
	}
	return found, nil
}
