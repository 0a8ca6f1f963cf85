package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the goldens anew")

// golden compares with a file of testdata/golden; -update writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name)
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(string(want), got), "testdata/golden/%s; run with -update where the change is meant", name)
}

func exampleSettings() settings {
	return settings{
		Layout: Layout{ID: "0badcafe", State: "/src/.dev/cluster", Run: "/run/agentmarket-dev/0badcafe", Bin: "/src/.dev/bin"},
		Cluster: Cluster{
			ID: "0badcafe", State: "/src/.dev/cluster", Name: "dev",
			PodCIDR: "10.90.7.0/24", NodeIP: "10.90.7.1", GatewayPort: 3100,
			Ports: Ports{APIServer: 20001, EtcdClient: 20002, EtcdPeer: 20003, Kubelet: 20004, Registry: 20005},
		},
		Snapshotter: "overlayfs",
		Runc:        "/usr/sbin/runc",
		CNIPlugins:  "/usr/lib/cni",
		PauseImage:  pauseImage,
	}
}

func TestConfigFiles(t *testing.T) {
	s := exampleSettings()
	for path, template := range configFiles(s.Layout) {
		t.Run(template, func(t *testing.T) {
			content, err := render(template, s)
			require.NoError(t, err)
			golden(t, filepath.Base(path), string(content))
		})
	}
}

func TestCommandLines(t *testing.T) {
	s := exampleSettings()
	for _, c := range clusterComponents(s) {
		t.Run(c.name, func(t *testing.T) {
			golden(t, c.name+".args", strings.Join(c.argv, "\n")+"\n")
		})
	}
}

func TestComponentsStartInOrder(t *testing.T) {
	for _, c := range clusterComponents(exampleSettings()) {
		require.GreaterOrEqual(t, startOrder(c.name), 0, c.name)
		for _, need := range c.after {
			require.Less(t, startOrder(need), startOrder(c.name), "%s comes after %s", c.name, need)
		}
	}
}

func TestFirewallRules(t *testing.T) {
	golden(t, "firewall.rules", firewallRules(exampleSettings().Cluster))
}

func TestStaleJumps(t *testing.T) {
	c := exampleSettings().Cluster
	listing := `-P INPUT ACCEPT
-A INPUT -s 10.90.7.0/24 ! -i lo -j AGENTMARKET-0badcafe-IN
-A INPUT -s 10.91.0.0/24 ! -i lo -j AGENTMARKET-0badcafe-IN
-A INPUT -s 10.92.0.0/24 ! -i lo -j AGENTMARKET-11111111-IN
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
`
	require.Equal(t,
		[][]string{{"INPUT", "-s", "10.91.0.0/24", "!", "-i", "lo", "-j", "AGENTMARKET-0badcafe-IN"}},
		staleJumps(listing, c.ID, firewallJumps(c)))
	require.Len(t, staleJumps(listing, c.ID, nil), 2, "all of the cluster's own, none of another's")
}

func TestFirewallNamesFit(t *testing.T) {
	in, fwd := firewallChains("0badcafe")
	require.LessOrEqual(t, max(len(in), len(fwd)), 28, "iptables' limit")
	require.LessOrEqual(t, len(addressLabel("0badcafe")), 15, "the kernel's limit")
}

func TestMountsBelow(t *testing.T) {
	mountinfo := `24 1 254:0 / / rw - ext4 /dev/vda rw
30 24 0:30 / /run/agentmarket-dev/0badcafe/containerd/rootfs rw - overlay overlay rw
31 24 0:31 / /run/agentmarket-dev/0badcafe2/other rw - tmpfs tmpfs rw
32 24 0:32 / /src/a\040b/kubelet/pods/x/volumes/token rw - tmpfs tmpfs rw
`
	require.Equal(t,
		[]string{"/run/agentmarket-dev/0badcafe/containerd/rootfs", "/src/a b/kubelet/pods/x/volumes/token"},
		mountsBelow(mountinfo, []string{"/run/agentmarket-dev/0badcafe", "/src/a b"}))
}
