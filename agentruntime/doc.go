// Package agentruntime is the versioned contract between the platform and an
// agent. It is layer 4 seen from both sides: authors of agents write against
// it, the supervisor in the pod and the Infra Control Plane implement it. An
// agent needs no library: it is any program that reads JSON and writes JSON.
//
// # What an agent is
//
// An agent is a container image and a manifest, agent.yaml ([Manifest]):
//
//	api_version: agentmarket/v1
//	name: greeter
//	version: 1.0.0
//	summary: Greets whoever asks.
//	command: ["/greeter"]
//
// # One attempt
//
// Every invocation is one pod with one container. Its first process is not the
// agent but the supervisor (package supervisor), which starts the agent's
// command once:
//
//	input.json ──stdin──► agent ──► AGENT_OUTPUT or last line of stdout
//	     │                  │                    │
//	     └── supervisor ────┴── waits, limits ───┘
//	              │
//	              ├─► log of the container   the agent's output, then frames (large results)
//	              ├─► termination message    the Envelope, at most 4096 bytes
//	              └─► exit code              ExitCode, only ever the supervisor's word
//
// What the agent finds:
//
//   - its input, one JSON value, on stdin and in the file AGENT_INPUT
//     ([InputFile]). The input matched input_schema before the run was accepted;
//   - the secrets that its manifest has in secret_files, in files of [SecretsDir]
//   - a writable work directory [WorkDir], which is also its current directory
//     and HOME, and a writable [TempDir]. Everything else is read-only. Both
//     are empty at the start, gone at the end, and limited by disk_mib;
//   - the variables [EnvInput], [EnvOutput], [EnvRunID], [EnvAttempt],
//     [EnvDeadline], the constants of env in its manifest, and the environment
//     of its image;
//   - an unprivileged user, no capabilities, no credentials.
//
// # The result, one rule
//
// The result is the content of the file AGENT_OUTPUT if the agent left it
// non-empty, otherwise the last non-blank line of its stdout. It must be one
// JSON value (valid UTF-8) of at most [MaxResultBytes]. A file that is not a
// regular file is an invalid result, as is a last line over the limit. White
// space outside of strings is not kept. Everything else on stdout and stderr
// is log. The byte 0x1e is removed from logs, see Frames.
//
// Success is: the agent's process exited 0 and the result is valid. The result
// counts only if the process ended by itself: not after SIGTERM from outside
// and not after the deadline.
//
// # The end
//
//	                    ┌─ exits 0, valid result ──────────► ok
//	                    ├─ exits 0, no or invalid result ──► agent_no_result, agent_invalid_result
//	start ──► running ──┼─ exits ≠ 0 or dies of a signal ──► agent_error, agent_oom, agent_disk
//	  │                 ├─ run_seconds are over ──► SIGTERM ─ grace_seconds ─► SIGKILL ──► deadline_exceeded
//	  │                 └─ SIGTERM from outside ──► SIGTERM ─ grace_seconds ─► SIGKILL ──► terminated
//	  └─ cannot start ──► config_error
//
// When the agent's main process ends, everything that it left behind is killed
// with SIGKILL. An agent that gets SIGTERM has grace_seconds to tidy up. An
// agent that fails should say why in the last line of stderr: it becomes part
// of the run's message.
//
// [Outcomes] and [ExitCode] are the complete tables.
//
// # Envelope and frames, for the platform
//
// The supervisor writes one [Envelope] as the termination message when all
// processes of the agent are dead. A result of at most [MaxInlineBytes] is
// inside. A larger one is written to the container's stdout as frames after
// the agent's last output, under a random nonce that is drawn after the agent
// is dead and named in the envelope:
//
//	\x1eagentmarket-result <nonce> 0 <base64>
//	\x1eagentmarket-result <nonce> 1 <base64>
//	\x1eagentmarket-result <nonce> end 2
//
// [ReadFrames] finds them in a log, [Envelope.VerifyBody] compares size and
// SHA-256. Who shows a log to people leaves such lines out. The first line of a log
// is one, too, [LogStart]: it tells a whole log from one that has lost its beginning.
// Since the supervisor removes the byte 0x1e from the agent's own output, an agent can
// neither forge a frame nor hide a line as one.
//
// # Versions
//
// Manifest.APIVersion and Envelope.V name the version of the contract. Within
// one version nothing is removed or redefined. The manifest fields tools,
// secrets and egress say what an agent asks for; of these egress is granted so far.
package agentruntime
