package testenv

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// gateways counts the addresses that were given out.
var gateways atomic.Int64

// GatewayAddress is a free address of the development cluster's node that pods reach,
// another one each time. The first one is left to `make run`.
func (d Dev) GatewayAddress(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(d.ClusterState, "cluster.json"))
	require.NoError(t, err)
	var cluster struct {
		NodeIP       string `json:"node_ip"`
		GatewayPort  int    `json:"gateway_port"`
		GatewayPorts int    `json:"gateway_ports"`
	}
	require.NoError(t, json.Unmarshal(text, &cluster))
	require.Greater(t, cluster.GatewayPorts, 1, "the cluster was started with --gateway-ports")
	for range cluster.GatewayPorts {
		port := cluster.GatewayPort + 1 + int(gateways.Add(1))%(cluster.GatewayPorts-1)
		address := net.JoinHostPort(cluster.NodeIP, strconv.Itoa(port))
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
		if err != nil {
			continue
		}
		require.NoError(t, listener.Close())
		return address
	}
	require.Fail(t, "no port that pods reach is free")
	return ""
}
