package main

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func anyPort(string, int) bool { return true }

func TestPlanAddresses(t *testing.T) {
	fresh := Cluster{ID: "00000102", GatewayPort: 3100}
	home := netip.MustParsePrefix("192.168.1.0/24")

	t.Run("chosen from the ID", func(t *testing.T) {
		c, err := planAddresses(fresh, machine{portFree: anyPort, prefixes: []netip.Prefix{home}})
		require.NoError(t, err)
		require.Equal(t, "10.89.2.0/24", c.PodCIDR)
		require.Equal(t, "10.89.2.1", c.NodeIP)
		require.Equal(t, Ports{APIServer: 20258, EtcdClient: 20259, EtcdPeer: 20260, Kubelet: 20261, Registry: 20262}, c.Ports)
	})

	t.Run("beside another cluster", func(t *testing.T) {
		first, err := planAddresses(fresh, machine{portFree: anyPort})
		require.NoError(t, err)
		second, err := planAddresses(fresh, machine{portFree: anyPort, others: []Cluster{first}})
		require.NoError(t, err)
		require.Equal(t, "10.89.3.0/24", second.PodCIDR)
		require.Equal(t, 20263, second.Ports.APIServer)
	})

	t.Run("remembered where free", func(t *testing.T) {
		c := fresh
		c.PodCIDR = "10.99.255.0/24"
		c.Ports = Ports{APIServer: 21000, EtcdClient: 21001, EtcdPeer: 21002, Kubelet: 21003, Registry: 21004}
		taken := func(_ string, port int) bool { return port != 21001 }
		got, err := planAddresses(c, machine{portFree: taken})
		require.NoError(t, err)
		require.Equal(t, "10.99.255.0/24", got.PodCIDR)
		require.Equal(t, Ports{APIServer: 21000, EtcdClient: 20258, EtcdPeer: 21002, Kubelet: 21003, Registry: 21004}, got.Ports)
	})

	t.Run("away from the machine's networks", func(t *testing.T) {
		c := fresh
		c.PodCIDR = "10.89.2.0/24"
		got, err := planAddresses(c, machine{portFree: anyPort, prefixes: []netip.Prefix{netip.MustParsePrefix("10.88.0.0/13")}})
		require.NoError(t, err)
		require.Equal(t, "10.96.0.0/24", got.PodCIDR)
	})

	t.Run("nothing free", func(t *testing.T) {
		_, err := planAddresses(fresh, machine{portFree: anyPort, prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
		require.ErrorContains(t, err, "no free /24")
		_, err = planAddresses(fresh, machine{portFree: func(string, int) bool { return false }})
		require.ErrorContains(t, err, "no free port")
	})
}

func TestKubeletRootFitsItsSockets(t *testing.T) {
	short := Layout{ID: "0badcafe", State: "/home/someone/agentmarket/.dev/cluster"}
	require.Equal(t, "/home/someone/agentmarket/.dev/cluster/kubelet", short.KubeletRoot())
	long := Layout{ID: "0badcafe", State: "/home/someone/a/very/long/path/to/a/checkout/of/the/project/agentmarket/.dev/cluster"}
	require.Equal(t, longStateRoot+"/0badcafe/kubelet", long.KubeletRoot())
}
