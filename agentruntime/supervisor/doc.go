// Package supervisor is the first process of an agent's container: it runs one
// agent once and reports how that ended. The contract that it keeps is package
// agentruntime. It runs only on Linux.
//
//	Run
//	 │ prepare   open the input, make the output directory, read the OOM counter
//	 │ start     agent in its own process group; stdin = input, stdout and stderr = pipes
//	 │ supervise until the agent's main process is dead ───┐
//	 │             deadline or SIGTERM ─► TERM ─ grace ─► KILL
//	 │ clear     KILL whatever is left, reap it, drain the pipes (bounded)
//	 │ read      the result: file first, else the last line of stdout
//	 │ decide    pure: ending ─► outcome, exit code, message
//	 └ report    frames to stdout, then the envelope, then the exit code
//
// The agent is third-party code with the same user id. Therefore:
//
//   - the result is read, the nonce drawn and the envelope written after all of
//     the agent's processes are dead. Nothing that it wrote to the termination
//     message survives;
//   - the result file is opened without following links and without blocking,
//     and must be a regular file within its limit;
//   - frame bytes are removed from the agent's output as it passes;
//   - memory is bounded whatever the agent writes: two buffers of the result's
//     limit and one read buffer a stream;
//   - every wait is bounded: a process that holds the pipes open, ignores
//     SIGTERM or stops itself costs seconds, not the run;
//   - [Harden] closes /proc/1 to the agent and makes signals from it harmless.
//
// An agent that runs as the supervisor's user can send it SIGTERM. The
// supervisor then stops the agent and says "terminated": it harms only itself.
package supervisor
