// Command agentmarket is the platform: one binary, one process type a command.
//
//	agentmarket migrate             bring database and Temporal to this version
//	agentmarket api                 serve the REST API
//	agentmarket worker              run workflows, activities and the watcher
//	agentmarket gateway             serve the pods of runs
//	agentmarket org create NAME     make an organization and its first API key
//	agentmarket org key NAME        make another key of an owner
//	agentmarket operator key NAME   make a key of an operator of the platform
//	agentmarket version
//
// Everything is configured by environment; `agentmarket help` lists it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	_ "gocloud.dev/blob/fileblob" // file:// blob stores
	_ "gocloud.dev/blob/s3blob"   // s3:// blob stores

	"agentmarket/cmd/internal/wire"
	"agentmarket/marketplace"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "agentmarket:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("see agentmarket help")

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		return errUsage
	}
	switch args[0] {
	case "help", "-h", "--help":
		_, err := fmt.Fprint(stdout, usage)
		return err
	case "version":
		_, err := fmt.Fprintln(stdout, version)
		return err
	}
	log := slog.New(slog.NewJSONHandler(stderr, nil))
	cfg, listen, err := configFromEnvironment()
	if err != nil {
		return err
	}
	if len(args) == 2 && args[0] == "secrets" {
		return manageKeyset(ctx, args[1], cfg.Secrets, func() (marketplace.SecretStore, func(), error) {
			platform, err := wire.Open(ctx, cfg, log)
			if err != nil {
				return nil, nil, err
			}
			return platform.DB.Marketplace(), platform.Close, nil
		}, stdout)
	}
	cfg.Version = version
	platform, err := wire.Open(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer platform.Close()
	log.Info("starting", "command", args[0], "version", version, "config", cfg)

	switch {
	case args[0] == "migrate":
		return platform.Migrate(ctx)
	case args[0] == "api":
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
		if err != nil {
			return fmt.Errorf("listen on %s: %w", listen, err)
		}
		return platform.ServeAPI(ctx, listener)
	case args[0] == "worker":
		return platform.RunWorker(ctx)
	case args[0] == "gateway":
		return platform.ServeGateway(ctx)
	case len(args) == 3:
		return makeKey(ctx, platform.DB.Marketplace(), args, time.Now().UTC(), stdout)
	}
	return errUsage
}
