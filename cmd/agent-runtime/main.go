//go:build linux

// Command agent-runtime is the first process in the container of an agent: a
// static binary without dependencies that runs in any image.
//
//	agent-runtime run [flags] -- COMMAND [ARGUMENT...]   run one agent once
//	agent-runtime install DIRECTORY                      copy this program there
//	agent-runtime exit                                   end at once: the image is there
//	agent-runtime probe [flags]                          attack what is around it, as an agent
//
// Flags of run are listed by "agent-runtime run --help"; platforms build them
// with agentruntime.Launch.Args. The exit code of run is an
// agentruntime.ExitCode.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"agentmarket/agentruntime"
	"agentmarket/agentruntime/supervisor"
)

const usage = `usage:
  agent-runtime run [flags] -- COMMAND [ARGUMENT...]
  agent-runtime install DIRECTORY
  agent-runtime exit
  agent-runtime probe [flags]
`

func main() { os.Exit(int(dispatch(os.Args[1:], os.Stderr))) }

// dispatch returns the exit code. Wrong use is the platform's fault, never the
// agent's: 120.
func dispatch(args []string, stderr io.Writer) agentruntime.ExitCode {
	switch {
	case len(args) > 0 && args[0] == "run":
		return run(args[1:], stderr)
	case len(args) > 0 && args[0] == "probe":
		return probe(args[1:], os.Stdout, stderr)
	case len(args) == 1 && args[0] == "exit":
		return agentruntime.ExitOK
	case len(args) == 2 && args[0] == "install":
		self, err := os.Executable()
		if err == nil {
			err = supervisor.Install(self, args[1])
		}
		if err != nil {
			fmt.Fprintf(stderr, "agent-runtime: %v\n", err)
			return agentruntime.ExitPlatform
		}
		return agentruntime.ExitOK
	default:
		fmt.Fprint(stderr, usage)
		return agentruntime.ExitPlatform
	}
}

func run(args []string, stderr io.Writer) agentruntime.ExitCode {
	launch, err := agentruntime.ParseLaunch(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return agentruntime.ExitOK
	}
	if err == nil {
		err = supervisor.Harden()
	}
	ctx, stop := supervisor.Signals(context.Background())
	defer stop()
	if err == nil && launch.Warm > 0 {
		launch, err = awaitRun(ctx, launch)
	}
	var redactor *agentruntime.Redactor
	if err == nil && launch.SecretFiles {
		redactor, err = fetchSecrets(ctx, launch, agentruntime.SecretsDir)
	}
	proxy := ""
	if err == nil && launch.Egress {
		proxy, err = startProxy(launch)
	}
	if err != nil {
		fmt.Fprintf(stderr, "agent-runtime: %v\n", err)
		return agentruntime.ExitPlatform
	}
	_, _ = fmt.Fprintln(os.Stdout, agentruntime.LogStart)
	_, code := supervisor.Supervisor{Config: supervisor.Config{
		Launch:  launch,
		Environ: os.Environ(),
		Stdout:  os.Stdout,
		Stderr:  os.Stderr,
		Call:    callGateway(launch),
		Redact:  redactor,
		Proxy:   proxy,
		Init:    os.Getpid() == 1,
	}}.Run(ctx)
	return code
}
