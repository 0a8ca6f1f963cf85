package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/postgresql"
	"go.temporal.io/server/temporal"
	sqltool "go.temporal.io/server/tools/sql"
	"google.golang.org/protobuf/types/known/durationpb"
)

// startTemporalOnPostgres starts a server on a PostgreSQL that has nothing of
// Temporal yet, with the schema that the server brings along: the way in which
// companies run it, in one process. For benchmarks.
func startTemporalOnPostgres(ctx context.Context, address string, port int) (temporal.Server, error) {
	databases := map[string]*config.SQL{}
	for store, name := range map[string]string{"db": "temporal", "visibility": "temporal_visibility"} {
		schema := "postgresql/v12/temporal"
		if store == "visibility" {
			schema = "postgresql/v12/visibility"
		}
		if err := makeSchema(address, name, schema); err != nil {
			return nil, err
		}
		databases[store] = &config.SQL{
			PluginName: postgresql.PluginNamePGX, DatabaseName: name, ConnectAddr: address, ConnectProtocol: "tcp", User: "postgres",
			MaxConns: 20, MaxIdleConns: 20, MaxConnLifetime: time.Hour,
		}
	}
	server, err := serve(databases, port, 0)
	if err != nil {
		return nil, err
	}
	return server, makeNamespace(ctx, port)
}

// makeSchema runs Temporal's own tool.
func makeSchema(address, database, schema string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("read address of PostgreSQL: %w", err)
	}
	tool := []string{"temporal-sql-tool", "--plugin", postgresql.PluginNamePGX, "--endpoint", host, "--port", port, "--user", "postgres", "--database", database}
	for _, args := range [][]string{
		{"create-database"},
		{"setup-schema", "--version", "0.0"},
		{"update-schema", "--schema-name", schema},
	} {
		if err := sqltool.RunTool(append(tool[:len(tool):len(tool)], args...)); err != nil {
			return fmt.Errorf("make Temporal schema (%s): %w", args[0], err)
		}
	}
	return nil
}

// makeNamespace registers the namespace of the platform, and waits until every
// part of the server knows it.
func makeNamespace(ctx context.Context, port int) error {
	namespaces, err := client.NewNamespaceClient(client.Options{HostPort: fmt.Sprintf("%s:%d", loopback, port)})
	if err != nil {
		return fmt.Errorf("make Temporal client: %w", err)
	}
	defer namespaces.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	registered := false
	for {
		if !registered {
			registered = namespaces.Register(ctx, &workflowservice.RegisterNamespaceRequest{
				Namespace: temporalNamespace, WorkflowExecutionRetentionPeriod: durationpb.New(retention),
			}) == nil
		}
		if _, err = namespaces.Describe(ctx, temporalNamespace); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("make Temporal namespace: %w", err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
