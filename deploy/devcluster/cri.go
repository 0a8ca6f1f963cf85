package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// dialRuntime connects to the cluster's containerd.
func dialRuntime(l Layout) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("unix://"+l.ContainerdSocket(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, fmt.Errorf("connect to containerd: %w", err)
	}
	return conn, nil
}

// runtimeReady asks containerd whether it can run pods.
func runtimeReady(ctx context.Context, l Layout) error {
	conn, err := dialRuntime(l)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	resp, err := runtime.NewRuntimeServiceClient(conn).Status(ctx, &runtime.StatusRequest{})
	if err != nil {
		return fmt.Errorf("ask containerd: %w", err)
	}
	for _, condition := range resp.GetStatus().GetConditions() {
		// Other conditions are advice, for example on cgroup v1.
		needed := condition.GetType() == runtime.RuntimeReady || condition.GetType() == runtime.NetworkReady
		if needed && !condition.GetStatus() {
			return fmt.Errorf("ask containerd: %s is false: %s", condition.GetType(), condition.GetMessage())
		}
	}
	return nil
}

// imageKnown says whether the kubelet would find an image under a reference.
func imageKnown(ctx context.Context, l Layout, reference string) (bool, error) {
	conn, err := dialRuntime(l)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }()
	resp, err := runtime.NewImageServiceClient(conn).ImageStatus(ctx, &runtime.ImageStatusRequest{
		Image: &runtime.ImageSpec{Image: reference},
	})
	if err != nil {
		return false, fmt.Errorf("ask containerd for image: %w", err)
	}
	return resp.GetImage() != nil, nil
}

// stopPods ends the containers of all pods and their sandboxes, which takes down
// their network. Nothing is removed: at the next up the kubelet finds the dead
// containers and reports their pods as failed, as after a reboot, instead of
// running them a second time.
func stopPods(ctx context.Context, l Layout, graceSeconds int64) (int, error) {
	conn, err := dialRuntime(l)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	client := runtime.NewRuntimeServiceClient(conn)
	sandboxes, err := client.ListPodSandbox(ctx, &runtime.ListPodSandboxRequest{})
	if err != nil {
		return 0, fmt.Errorf("list pods: %w", err)
	}
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		errs    []error
		stopped int
		slots   = make(chan struct{}, 16)
	)
	for _, sandbox := range sandboxes.GetItems() {
		if sandbox.GetState() == runtime.PodSandboxState_SANDBOX_READY {
			stopped++
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if err := stopPod(ctx, client, sandbox.GetId(), graceSeconds); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	return stopped, errors.Join(errs...)
}

func stopPod(ctx context.Context, client runtime.RuntimeServiceClient, sandbox string, graceSeconds int64) error {
	containers, err := client.ListContainers(ctx, &runtime.ListContainersRequest{
		Filter: &runtime.ContainerFilter{
			PodSandboxId: sandbox,
			State:        &runtime.ContainerStateValue{State: runtime.ContainerState_CONTAINER_RUNNING},
		},
	})
	if err != nil {
		return fmt.Errorf("list containers of pod %s: %w", sandbox, err)
	}
	for _, c := range containers.GetContainers() {
		_, err := client.StopContainer(ctx, &runtime.StopContainerRequest{ContainerId: c.GetId(), Timeout: graceSeconds})
		if err != nil {
			return fmt.Errorf("stop container %s: %w", c.GetId(), err)
		}
	}
	if _, err := client.StopPodSandbox(ctx, &runtime.StopPodSandboxRequest{PodSandboxId: sandbox}); err != nil {
		return fmt.Errorf("stop pod %s: %w", sandbox, err)
	}
	return nil
}
