package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	_ "gocloud.dev/blob/fileblob" // the blob store is a folder

	"agentmarket/cmd/internal/wire"
	"agentmarket/infra/kube"
	"agentmarket/product"
	"agentmarket/secrets"
)

// stackOptions is what `make run` may say.
type stackOptions struct {
	dir, bin                 string
	kubeContext, imagePrefix string
	apiPort, uiPort          int
	temporalPort             int
	temporalHTTPPort         int
	clusterState             string
	keepCluster              bool
	once                     bool
}

// up starts everything, shows that it works and stays until the context ends.
func up(ctx context.Context, o stackOptions) error {
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return fmt.Errorf("find state folder: %w", err)
	}
	o.dir = dir
	if o.clusterState == "" {
		o.clusterState = filepath.Join(dir, "cluster")
	}
	say := newProgress()
	for _, port := range []int{o.apiPort, o.uiPort, o.temporalPort, o.temporalHTTPPort} {
		if err := portIsFree(port); err != nil {
			return fmt.Errorf("%w; stop what uses it, or choose others: make run API_PORT=… UI_PORT=… TEMPORAL_PORT=… TEMPORAL_HTTP_PORT=…", err)
		}
	}
	kubeconfig, err := o.cluster(ctx, say)
	if err != nil {
		return err
	}
	if o.kubeContext == "" && !o.keepCluster {
		defer o.clusterDown(say)
	}
	images, err := o.images(ctx, say)
	if err != nil {
		return err
	}
	temporalFile := filepath.Join(o.dir, "temporal.db")
	server, err := startTemporal(temporalFile, o.temporalPort, o.temporalHTTPPort)
	if err != nil {
		return err
	}
	defer func() { _ = server.Stop() }()
	ui, err := startTemporalUI(o.temporalPort, o.uiPort)
	if err != nil {
		return err
	}
	defer ui.Stop()
	say.step("Temporal on %s:%d, Web UI on http://localhost:%d", loopback, o.temporalPort, o.uiPort)

	log, closeLog, err := o.logger()
	if err != nil {
		return err
	}
	defer closeLog()
	gatewayListen, err := o.gateway()
	if err != nil {
		return err
	}
	platform, err := o.open(ctx, log, kubeconfig, gatewayListen, images["agent-runtime"])
	if err != nil {
		return err
	}
	defer platform.Close()
	seeded, err := seed(ctx, platform, o.dir)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(loopback, strconv.Itoa(o.apiPort)))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	o.writeEnvironment(seeded, kubeconfig, say)

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return platform.ServeAPI(ctx, listener) })
	group.Go(func() error { return platform.RunWorker(ctx) })
	if gatewayListen != "" {
		group.Go(func() error { return platform.ServeGateway(ctx) })
	}
	group.Go(func() error {
		t := tour{options: o, images: images, keys: seeded, key: seeded.publisher, kubeconfig: kubeconfig, say: say}
		if err := t.run(ctx); err != nil || o.once {
			stop()
			return err
		}
		<-ctx.Done()
		return nil
	})
	return group.Wait()
}

// open opens the platform on local adapters.
func (o stackOptions) open(ctx context.Context, log *slog.Logger, kubeconfig, gatewayListen, runtimeImage string) (*wire.Platform, error) {
	blobDir := filepath.Join(o.dir, "blobs")
	if err := os.MkdirAll(blobDir, 0o750); err != nil {
		return nil, fmt.Errorf("make blob folder: %w", err)
	}
	cfg := wire.Config{
		DatabaseURL: "sqlite://" + filepath.Join(o.dir, "store.db"),
		// no_tmp_dir: write beside the target, for renaming across devices fails.
		BlobURL: "file://" + blobDir + "?no_tmp_dir=true",
		Temporal: client.Options{
			HostPort: net.JoinHostPort(loopback, strconv.Itoa(o.temporalPort)), Namespace: temporalNamespace,
		},
		TemporalWebURL: fmt.Sprintf("http://localhost:%d", o.uiPort),
		Kubeconfig:     kubeconfig, KubeContext: o.kubeContext,
		Kube:            kube.Config{RuntimeImage: runtimeImage, KeepFinishedJobs: true},
		ManageNamespace: true,
		Limits:          product.DefaultLimits(),
		SmokeAgent:      examplesOrg + "/hello",
		Secrets:         secrets.Config{File: filepath.Join(o.dir, "keyset.json")},
		// For a receiver of webhooks on this computer.
		WebhookInsecure: os.Getenv("AGENTMARKET_WEBHOOK_INSECURE") == "true",
		// The examples were loaded into the node; only pushed ones have a
		// registry.
		PreloadedImages: []string{cmp.Or(o.imagePrefix, strings.TrimSuffix(imageRepository, "/"))},
	}
	if gatewayListen != "" {
		cfg.GatewayListen, cfg.Kube.GatewayURL = gatewayListen, "http://"+gatewayListen
	}
	if err := secrets.Create(ctx, cfg.Secrets); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make keys of secrets: %w", err)
	}
	// The organization of the smoke test is known only after the migration.
	platform, err := wire.Open(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	if err := platform.Migrate(ctx); err != nil {
		platform.Close()
		return nil, err
	}
	org, err := ensureOrganization(ctx, platform, examplesOrg, time.Now().UTC())
	platform.Close()
	if err != nil {
		return nil, err
	}
	cfg.SmokeOrg = org.ID
	return wire.Open(ctx, cfg, log)
}

// cluster brings the development cluster up, or names the existing one.
func (o stackOptions) cluster(ctx context.Context, say *progress) (kubeconfig string, err error) {
	if o.kubeContext != "" {
		kubeconfig = os.Getenv("KUBECONFIG")
		if kubeconfig == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return "", fmt.Errorf("find kubeconfig: %w", err)
			}
			kubeconfig = filepath.Join(home, ".kube", "config")
		}
		say.step("using the cluster of context %s in %s", o.kubeContext, kubeconfig)
		return kubeconfig, nil
	}
	cmd := exec.CommandContext(ctx, filepath.Join(o.bin, "devcluster"), "up", "--state", o.clusterState)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	// Ctrl-C reaches the whole process group; the cluster must come up or be
	// torn down in order, so devcluster hears of it only through the context.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("start the development cluster: %w", err)
	}
	say.step("Kubernetes is up")
	return filepath.Join(o.clusterState, "kubeconfig"), nil
}

// gateway is where the gateway listens: at the one port that pods of the development
// cluster reach. An existing cluster is not known to reach this computer; empty.
func (o stackOptions) gateway() (string, error) {
	if o.kubeContext != "" {
		return "", nil
	}
	text, err := os.ReadFile(filepath.Join(o.clusterState, "cluster.json"))
	if err != nil {
		return "", fmt.Errorf("read about the development cluster: %w", err)
	}
	var cluster struct {
		NodeIP      string `json:"node_ip"`
		GatewayPort int    `json:"gateway_port"`
	}
	if err := json.Unmarshal(text, &cluster); err != nil {
		return "", fmt.Errorf("read about the development cluster: %w", err)
	}
	return net.JoinHostPort(cluster.NodeIP, strconv.Itoa(cluster.GatewayPort)), nil
}

// clusterDown stops the cluster's processes and keeps its state. The context of
// the stack has ended by then.
func (o stackOptions) clusterDown(say *progress) {
	say.step("stopping Kubernetes (state is kept; `make clean` removes it)")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(o.bin, "devcluster"), "down", "--state", o.clusterState)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "devstack: stop the development cluster:", err)
	}
}

func (o stackOptions) images(ctx context.Context, say *progress) (map[string]string, error) {
	builder := imageBuilder{bin: o.bin, out: filepath.Join(o.dir, "images"), state: o.clusterState}
	if o.kubeContext != "" {
		if o.imagePrefix == "" {
			return nil, fmt.Errorf("with KUBE_CONTEXT, say where the cluster pulls images from: make run KUBE_CONTEXT=%s IMAGE_PREFIX=registry.example/agents", o.kubeContext)
		}
		builder.push = o.imagePrefix
	}
	images, err := builder.build(ctx)
	if err != nil {
		return nil, err
	}
	say.step("images of the supervisor and %d example agents are loaded", len(images)-1)
	return images, nil
}

// logger writes the logs of API and worker to a file: the terminal is for the
// tour.
func (o stackOptions) logger() (*slog.Logger, func(), error) {
	name := filepath.Join(o.dir, "platform.log")
	file, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("open log: %w", err)
	}
	return slog.New(slog.NewJSONHandler(file, nil)), func() { _ = file.Close() }, nil
}
