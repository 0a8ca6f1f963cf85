package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	uiserver "github.com/temporalio/ui-server/v2/server"
	uiconfig "github.com/temporalio/ui-server/v2/server/config"
	uioptions "github.com/temporalio/ui-server/v2/server/server_options"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/membership/static"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives"
	sqliteschema "go.temporal.io/server/schema/sqlite"
	"go.temporal.io/server/temporal"
	"google.golang.org/protobuf/types/known/durationpb"

	"agentmarket/internal/freeport"
)

// The Temporal of the development stack. A company runs Temporal on its own
// PostgreSQL (docker-compose.yml shows it); this one lives in a SQLite file and
// is the only place of the platform that links the server.
const (
	loopback          = "127.0.0.1"
	temporalNamespace = "agentmarket"
	clusterName       = "active"
	// retention is how long closed workflows stay in the Web UI. Within it a
	// run cannot be started twice by its workflow identifier; after it the
	// store still knows.
	retention = 7 * 24 * time.Hour
)

// startTemporal starts an embedded server on a SQLite file, made when it does
// not exist. httpPort is for Temporal's own HTTP API, which needs no client; 0:
// none. The server stops with the process or by its Stop.
func startTemporal(file string, port, httpPort int) (temporal.Server, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		return nil, fmt.Errorf("make folder of Temporal: %w", err)
	}
	db := &config.SQL{
		PluginName: sqliteplugin.PluginName, DatabaseName: file, MaxConns: 4, MaxIdleConns: 4,
		// Plain pragma names; WAL is what makes more than one connection legal.
		ConnectAttributes: map[string]string{
			"mode": "rwc", "journal_mode": "wal", "synchronous": "normal", "busy_timeout": "10000",
		},
	}
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		if err := sqliteschema.SetupSchema(db); err != nil {
			return nil, fmt.Errorf("make Temporal schema: %w", err)
		}
	}
	namespace, err := sqliteschema.NewNamespaceConfig(clusterName, temporalNamespace, false, nil)
	if err != nil {
		return nil, fmt.Errorf("describe Temporal namespace: %w", err)
	}
	namespace.Detail.Config.Retention = durationpb.New(retention) // the default is one day
	if err := sqliteschema.CreateNamespaces(db, namespace); err != nil {
		return nil, fmt.Errorf("make Temporal namespace: %w", err)
	}
	return serve(map[string]*config.SQL{"db": db}, port, httpPort)
}

// serve starts a server on databases: "db", and "visibility" where it is another
// one.
func serve(databases map[string]*config.SQL, port, httpPort int) (temporal.Server, error) {
	cfg, hosts, err := temporalConfig(databases, port, httpPort)
	if err != nil {
		return nil, err
	}
	server, err := temporal.NewServer(
		temporal.WithConfig(cfg),
		temporal.WithStaticHosts(hosts), // no gossip between the parts of one process
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithLogger(log.NewNoopLogger()),
		temporal.WithAuthorizer(authorization.NewNoopAuthorizer()),
		temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper { return authorization.NewNoopClaimMapper() }),
		temporal.WithDynamicConfigClient(dynamicconfig.StaticClient{
			dynamicconfig.MakeKey("system.forceSearchAttributesCacheRefreshOnRead"): true,
			dynamicconfig.MakeKey("frontend.persistenceMaxQPS"):                     10000,
			dynamicconfig.MakeKey("history.persistenceMaxQPS"):                      45000,
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("make Temporal server: %w", err)
	}
	if err := server.Start(); err != nil {
		return nil, fmt.Errorf("start Temporal server: %w", err)
	}
	return server, nil
}

// temporalConfig describes a cluster of one process. Only the frontend has a
// known port.
func temporalConfig(databases map[string]*config.SQL, port, httpPort int) (*config.Config, map[primitives.ServiceName]static.Hosts, error) {
	address := net.JoinHostPort(loopback, strconv.Itoa(port))
	var c config.Config
	c.Global.Membership = config.Membership{MaxJoinDuration: 30 * time.Second, BroadcastAddress: loopback}
	c.Persistence = config.Persistence{
		DefaultStore: "db", VisibilityStore: "db", NumHistoryShards: 1,
		DataStores: map[string]config.DataStore{},
	}
	for name, db := range databases {
		c.Persistence.DataStores[name] = config.DataStore{SQL: db}
		if name != "db" {
			c.Persistence.VisibilityStore = name
		}
	}
	c.ClusterMetadata = &cluster.Config{
		FailoverVersionIncrement: 10, MasterClusterName: clusterName, CurrentClusterName: clusterName,
		ClusterInformation: map[string]cluster.ClusterInformation{
			clusterName: {Enabled: true, InitialFailoverVersion: 1, RPCAddress: address, ClusterID: "development"},
		},
	}
	c.DCRedirectionPolicy.Policy = "noop"
	c.PublicClient.HostPort = address
	c.Archival.History.State, c.Archival.Visibility.State = "disabled", "disabled"
	c.NamespaceDefaults.Archival.History.State, c.NamespaceDefaults.Archival.Visibility.State = "disabled", "disabled"

	ports, err := freeport.Find(len(temporal.DefaultServices))
	if err != nil {
		return nil, nil, err
	}
	c.Services = map[string]config.Service{}
	hosts := map[primitives.ServiceName]static.Hosts{}
	for i, name := range temporal.DefaultServices {
		rpc := config.RPC{GRPCPort: ports[i], BindOnIP: loopback}
		if name == string(primitives.FrontendService) {
			rpc.GRPCPort, rpc.HTTPPort = port, httpPort
		}
		c.Services[name] = config.Service{RPC: rpc}
		hosts[primitives.ServiceName(name)] = static.SingleLocalHost(net.JoinHostPort(loopback, strconv.Itoa(rpc.GRPCPort)))
	}
	return &c, hosts, nil
}

// startTemporalUI starts the Web UI. Terminating and resetting workflows are
// switched off: a terminated workflow runs no cleanup, and its Job would stay.
func startTemporalUI(temporalPort, port int) (*uiserver.Server, error) {
	if err := portIsFree(port); err != nil {
		return nil, fmt.Errorf("start Temporal Web UI: %w", err) // the UI server would end the whole process
	}
	ui := uiserver.NewServer(uioptions.WithConfigProvider(&uiconfig.Config{
		Host: loopback, Port: port, TemporalGRPCAddress: net.JoinHostPort(loopback, strconv.Itoa(temporalPort)),
		EnableUI: true, HideLogs: true, DisableNewsFetch: true, DefaultNamespace: temporalNamespace,
		CORS:                      uiconfig.CORS{CookieInsecure: true},
		WorkflowTerminateDisabled: true, WorkflowResetDisabled: true, BatchActionsDisabled: true,
		StartWorkflowDisabled: true,
	}))
	go func() { _ = ui.Start() }()
	return ui, nil
}

func portIsFree(port int) error {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("port %d is taken: %w", port, err)
	}
	return listener.Close()
}
