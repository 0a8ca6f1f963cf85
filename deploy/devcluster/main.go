package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/pflag"
)

func main() {
	os.Exit(dispatch())
}

// dispatch decides by the program's name and its first argument what this
// process is, before anything of Kubernetes is constructed.
func dispatch() int {
	if filepath.Base(os.Args[0]) == "kubectl" {
		return runKubectl()
	}
	if len(os.Args) > 1 {
		if os.Args[1] == "kubectl" {
			os.Args = os.Args[1:]
			return runKubectl()
		}
		if construct, ok := kubernetesComponents[os.Args[1]]; ok {
			return runKubernetes(construct, os.Args[2:])
		}
	}
	// Packages of Kubernetes add flags of theirs to the global set, and cobra would
	// offer them with every command.
	pflag.CommandLine = pflag.NewFlagSet(os.Args[0], pflag.ContinueOnError)

	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	err := rootCommand().ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if !errors.Is(err, errNotReady) {
		fmt.Fprintln(os.Stderr, "devcluster: "+err.Error())
	}
	return 1
}
