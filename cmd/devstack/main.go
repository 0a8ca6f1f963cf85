// Command devstack is the whole platform on one computer: the development
// cluster, an embedded Temporal with its Web UI, the API and a worker.
//
//	devstack up         what `make run` starts: everything, the example agents,
//	                    two runs to show that it works, then until Ctrl-C
//	devstack temporal   only Temporal, for tests
//	devstack images     only build the images and load them into the cluster
//
//	devstack up
//	  ├─ devcluster up        Kubernetes, its own processes; `devcluster down` at the end
//	  ├─ images               supervisor and examples, built and loaded without a registry
//	  ├─ Temporal, Web UI     in this process, on a SQLite file
//	  ├─ API, worker          in this process, the same code as in production
//	  └─ the tour             registers the examples and runs two of them
//
// State is kept under one folder (.dev): killed at any moment, the next start
// goes on where this one was.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"go.temporal.io/server/temporal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "devstack:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("which one: up, temporal or images")
	}
	flags := flag.NewFlagSet("devstack "+args[0], flag.ContinueOnError)
	switch args[0] {
	case "up":
		var o stackOptions
		flags.StringVar(&o.dir, "dir", ".dev", "folder of all state")
		flags.StringVar(&o.bin, "bin", ".dev/bin", "folder of the built programs")
		flags.StringVar(&o.kubeContext, "kube-context", "", "use this context of the kubeconfig instead of the development cluster")
		flags.StringVar(&o.imagePrefix, "image-prefix", "", "with -kube-context: registry/path that the images are pushed to")
		flags.IntVar(&o.apiPort, "api-port", 3000, "port of the REST API")
		flags.IntVar(&o.uiPort, "ui-port", 8233, "port of the Temporal Web UI")
		flags.IntVar(&o.temporalPort, "temporal-port", 7233, "port of Temporal")
		flags.IntVar(&o.temporalHTTPPort, "temporal-http-port", 7243, "port of Temporal's HTTP API")
		flags.StringVar(&o.clusterState, "cluster-state", "", "state folder of the development cluster; empty: cluster in -dir")
		flags.BoolVar(&o.keepCluster, "keep-cluster", false, "leave the cluster running at the end")
		flags.BoolVar(&o.once, "once", false, "stop after the tour")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return up(ctx, o)
	case "temporal":
		file := flags.String("file", "", "SQLite file")
		port := flags.Int("port", 7233, "port of the frontend")
		uiPort := flags.Int("ui-port", 0, "port of the Web UI; 0: none")
		postgres := flags.String("postgres", "", "instead of a file: HOST:PORT of an empty PostgreSQL that trusts the user postgres, for benchmarks")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		if *postgres != "" {
			return serveTemporal(ctx, func() (temporal.Server, error) { return startTemporalOnPostgres(ctx, *postgres, *port) }, *port, *uiPort)
		}
		return serveTemporal(ctx, func() (temporal.Server, error) { return startTemporal(*file, *port, 0) }, *port, *uiPort)
	case "images":
		var b imageBuilder
		flags.StringVar(&b.bin, "bin", ".dev/bin", "folder of the built programs")
		flags.StringVar(&b.out, "out", ".dev/images", "folder of the image files")
		flags.StringVar(&b.state, "state", ".dev/cluster", "state folder of the cluster")
		file := flags.String("refs", "", "file to write the references to, NAME=REFERENCE lines")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		images, err := b.build(ctx)
		if err != nil {
			return err
		}
		return writeRefs(*file, images)
	}
	return fmt.Errorf("unknown command %q", args[0])
}

// serveTemporal serves Temporal until the context ends. It prints one line when
// it is ready.
func serveTemporal(ctx context.Context, start func() (temporal.Server, error), port, uiPort int) error {
	server, err := start()
	if err != nil {
		return err
	}
	defer func() { _ = server.Stop() }()
	if uiPort != 0 {
		ui, err := startTemporalUI(port, uiPort)
		if err != nil {
			return err
		}
		defer ui.Stop()
	}
	fmt.Println("ready")
	<-ctx.Done()
	return nil
}

func writeRefs(file string, images map[string]string) error {
	var b strings.Builder
	for _, name := range imageNames() {
		fmt.Fprintf(&b, "%s=%s\n", name, images[name])
	}
	if file == "" {
		fmt.Print(b.String())
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		return fmt.Errorf("write image references: %w", err)
	}
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("write image references: %w", err)
	}
	return nil
}
