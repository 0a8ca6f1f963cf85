package kube

import (
	"strings"

	"agentmarket/agentruntime"
	"agentmarket/infra"
)

// supervisorCommand starts the supervisor as the container's first process and
// gives it the agent's command. The image's own entrypoint is never used: any
// image with the command in it is an agent.
func supervisorCommand(s infra.Sandbox, cfg Config) []string {
	command := make([]string, len(s.Command))
	for i, word := range s.Command {
		command[i] = escapeExpansion(word)
	}
	launch := agentruntime.Launch{
		Run: s.Run, Attempt: s.Attempt, RunTimeout: s.RunTimeout, Grace: s.Grace,
		DiskLimit: s.DiskMiB << 20, Command: command,
	}
	if s.Run == "" { // comes with the adoption
		launch.Warm = warmLife
	}
	if cfg.GatewayURL != "" {
		launch.Gateway, launch.TokenFile, launch.Egress = cfg.GatewayURL, agentruntime.TokenFile, s.Egress
		launch.SecretFiles = s.SecretFiles
	}
	return append([]string{agentruntime.SupervisorPath}, launch.Args()...)
}

// escapeExpansion keeps Kubernetes from replacing $(NAME) in a stranger's
// command or constant: the text reaches the agent as it was published. $$ is
// Kubernetes' own escape for $.
func escapeExpansion(s string) string { return strings.ReplaceAll(s, "$", "$$") }
