// Command hello is the smallest useful agent: it reads its input from stdin and
// writes its result as the last line of stdout.
//
// With sleep_seconds it takes its time, and with ignore_sigterm it does not let
// itself be told to stop: two inputs to see what the platform does about it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

type input struct {
	Prompt        string `json:"prompt"`
	SleepSeconds  int    `json:"sleep_seconds"`
	IgnoreSIGTERM bool   `json:"ignore_sigterm"`
}

type output struct {
	Greeting string `json:"greeting"`
	Prompt   string `json:"prompt"`
}

func main() {
	if err := run(os.Stdin, os.Stdout, os.Stderr); err != nil {
		// The last line of stderr becomes part of the run's message.
		fmt.Fprintln(os.Stderr, "hello:", err)
		os.Exit(1)
	}
}

func run(stdin io.Reader, stdout, stderr io.Writer) error {
	var in input
	// The platform checked the input against input_schema already. It is read
	// anyway as if it had not: the agent may be run by hand.
	if err := json.NewDecoder(stdin).Decode(&in); err != nil {
		return fmt.Errorf("read input: %w", err)
	}
	if in.Prompt == "" {
		return errors.New("the input has no prompt")
	}
	ctx, stop := listen(in.IgnoreSIGTERM)
	defer stop()
	if in.SleepSeconds > 0 {
		fmt.Fprintf(stderr, "sleeping for %d s\n", in.SleepSeconds)
		select {
		case <-time.After(time.Duration(in.SleepSeconds) * time.Second):
		case <-ctx.Done():
			return errors.New("stopped while sleeping")
		}
	}
	return json.NewEncoder(stdout).Encode(output{
		Greeting: "Hello from an isolated pod! You said: " + in.Prompt,
		Prompt:   in.Prompt,
	})
}

// listen returns a context that ends with SIGTERM, or one that never ends.
func listen(ignore bool) (context.Context, context.CancelFunc) {
	if ignore {
		signal.Ignore(syscall.SIGTERM)
		return context.WithCancel(context.Background())
	}
	return signal.NotifyContext(context.Background(), syscall.SIGTERM)
}
