package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// imageBuilder assembles images from built programs, without Docker and without
// a registry, and loads them into the development cluster.
type imageBuilder struct {
	bin   string // built programs
	out   string // image files
	state string // state folder of the cluster
	// push: registry/path to push to instead of loading; for clusters that are
	// not ours.
	push string
}

// recipe is what an image is made of: arguments of `devcluster image`.
type recipe struct {
	name  string
	parts []string
}

// recipes lists the images of the development stack. The supervisor's image is
// mounted as a volume and run from there; the agents are what any publisher
// might bring: three static Go programs, and a shell script on Debian's busybox.
func (b imageBuilder) recipes() []recipe {
	program := func(name string) string { return filepath.Join(b.bin, name) + ":0755:/" + name }
	busybox := []string{"--file", "/bin/busybox:0755:/bin/busybox", "--file", "examples/agents/wordcount/agent.sh:0755:/agent.sh"}
	for _, applet := range []string{"sh", "cat", "wc", "sed", "awk", "grep", "tr", "head", "tail", "printf", "cut", "od", "sort", "expr", "dd", "mkdir", "rm", "mv", "sleep", "echo", "test"} {
		busybox = append(busybox, "--symlink", "busybox:/bin/"+applet)
	}
	return []recipe{
		{"agent-runtime", []string{"--file", program("agent-runtime")}},
		{"hello", []string{"--file", program("hello")}},
		{"research", []string{"--file", program("research")}},
		{"summarize", []string{"--file", program("summarize")}},
		{"wordcount", busybox},
	}
}

func imageNames() []string {
	var names []string
	for _, r := range (imageBuilder{}).recipes() {
		names = append(names, r.name)
	}
	return names
}

const imageRepository = "agentmarket.local/"

// build builds and loads every image and returns their digest-pinned
// references by name. What is there already is not loaded again.
func (b imageBuilder) build(ctx context.Context) (map[string]string, error) {
	if err := os.MkdirAll(b.out, 0o750); err != nil {
		return nil, fmt.Errorf("make image folder: %w", err)
	}
	refs := map[string]string{}
	var files []string
	for _, r := range b.recipes() {
		file := filepath.Join(b.out, r.name+".tar")
		name := imageRepository + r.name
		if b.push != "" {
			name = strings.TrimSuffix(b.push, "/") + "/" + r.name
		}
		args := append([]string{"image", "--name", name, "--out", file}, r.parts...)
		if b.push != "" {
			args = append(args, "--push")
		}
		ref, err := b.devcluster(ctx, args...)
		if err != nil {
			return nil, fmt.Errorf("build image %s: %w", r.name, err)
		}
		refs[r.name] = ref
		files = append(files, file)
	}
	if b.push != "" {
		return refs, nil
	}
	if _, err := b.devcluster(ctx, append([]string{"load", "--state", b.state}, files...)...); err != nil {
		return nil, fmt.Errorf("load images: %w", err)
	}
	return refs, nil
}

// devcluster runs the cluster's tool and returns the last line that it printed.
func (b imageBuilder) devcluster(ctx context.Context, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "devcluster"), args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("devcluster %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	return lines[len(lines)-1], nil
}
