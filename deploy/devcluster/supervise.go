package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// stopOrder is the reverse of the order in which the components started.
func stopOrder() []string {
	order := slices.Clone(componentOrder)
	slices.Reverse(order)
	return order
}

// spawnSupervisor starts the supervisor as a daemon and returns when it answers.
func spawnSupervisor(ctx context.Context, l Layout) error {
	logFile, err := openLog(l.Log("supervisor"))
	if err != nil {
		return err
	}
	defer logFile.Close()
	cmd := exec.Command(l.Executable(), "supervise", "--state="+l.State) //nolint:noctx // it outlives the command
	cmd.Env = componentEnv(l)
	cmd.Dir = l.State
	cmd.Stdout, cmd.Stderr = logFile, logFile
	// A session of its own: it outlives the terminal and the command that started it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start supervisor: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		_, err := newControl(l).status(ctx)
		if err == nil {
			return nil
		}
		select {
		case err := <-ended:
			return fmt.Errorf("start supervisor: it ended at once (%v); last lines of %s:\n%s", err, l.Log("supervisor"), lastLines(l.Log("supervisor"), 5)) //nolint:errorlint // nil where it ended with exit code 0
		case <-ctx.Done():
			return fmt.Errorf("wait for supervisor: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// supervise is the daemon: it runs the components until it is told to stop.
func supervise(l Layout) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	c, err := requireCluster(l)
	if err != nil {
		return err
	}
	s, err := findSettings(l, c)
	if err != nil {
		return err
	}
	if err := os.Remove(l.ControlSocket()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove old control socket: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", l.ControlSocket())
	if err != nil {
		return fmt.Errorf("listen for commands: %w", err)
	}
	if err := os.Chmod(l.ControlSocket(), 0o600); err != nil {
		return fmt.Errorf("restrict control socket: %w", err)
	}
	if err := writeFile(l.PidFile(), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
		return fmt.Errorf("write pid file: %w", err)
	}
	defer func() { _ = os.Remove(l.PidFile()) }()

	go func() {
		log.Error("image pulls are not answered", "error", serveNoRegistry(c.Ports.Registry))
	}()
	sup := newSupervisor(l, log)
	sup.start(clusterComponents(s))
	quit, cancel := context.WithCancel(context.Background())
	defer cancel()
	server := serveControl(sup, listener, cancel)

	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	select {
	case sig := <-end:
		log.Info("stopping", "signal", sig.String())
		sup.stop(stopOrder())
	case <-quit.Done():
		log.Info("stopping", "signal", "none")
	}
	sup.runs.Wait()
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Second)
	defer stop()
	if err := server.Shutdown(ctx); err != nil {
		return fmt.Errorf("close control socket: %w", err)
	}
	return nil
}
