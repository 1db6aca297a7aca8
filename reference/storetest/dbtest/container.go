package dbtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"

	"github.com/farmspec/farmspec/ports"
)

var errPull = errors.New("an image is missing")

// inContainer starts the server in a container, published on 127.0.0.1 alone.
// Where that cannot be asked for, why says the reason; what was made and does
// not work is err.
func (k *kind) inContainer(ctx context.Context, pull bool) (_ *Server, why, err error) {
	docker, why := engine(ctx, k.image, pull)
	if why != nil {
		return nil, why, nil
	}
	port, err := ports.Draw(ctx)
	if err != nil {
		return nil, nil, err
	}
	password := rand.Text()
	request := testcontainers.ContainerRequest{
		Image:        k.image,
		ExposedPorts: []string{k.port},
		Cmd:          k.args(password),
		// The port is the same after each start. On networks of its own
		// testcontainers would publish it on every address.
		HostConfigModifier: func(c *container.HostConfig) {
			c.PortBindings = network.PortMap{network.MustParsePort(k.port): {{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: strconv.Itoa(port)}}}
		},
	}
	if k.env != nil {
		request.Env = k.env(password)
	}
	limited, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	c, err := docker.CreateContainer(limited, request)
	if err != nil {
		return nil, fmt.Errorf("make a container: %w", err), nil
	}
	s := &Server{kind: k, engine: contained{c}, remove: func() error { return testcontainers.TerminateContainer(c) }}
	if err := c.Start(limited); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("start a container of %s: %w", k.image, err), s.remove())
	}
	host, err := c.Host(limited)
	if err != nil {
		return nil, nil, errors.Join(err, s.close())
	}
	s.URL = strings.Replace(k.address(port, password), "127.0.0.1:"+strconv.Itoa(port), net.JoinHostPort(host, strconv.Itoa(port)), 1)
	if err := k.await(limited, s.URL); err != nil {
		return nil, nil, errors.Join(err, s.close())
	}
	return s, nil, nil
}

// engine returns a Docker engine that has what it takes to run the image, or
// may pull it, which takes time and a network.
func engine(ctx context.Context, image string, pull bool) (_ *testcontainers.DockerProvider, why error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	log.SetDefault(log.NewNoopLogger()) // it would describe the engine on every test's output
	docker, err := testcontainers.NewDockerProvider()
	if err != nil {
		return nil, fmt.Errorf("none answers: %w", err)
	}
	images, err := docker.ListImages(ctx)
	if err != nil {
		return nil, fmt.Errorf("none answers: %w", err)
	}
	has := func(name string) bool {
		return slices.ContainsFunc(images, func(i testcontainers.ImageInfo) bool { return strings.HasPrefix(i.Name, name) })
	}
	switch {
	case pull:
	case !has(image):
		return nil, fmt.Errorf("%w: %s", errPull, image)
	case !docker.Config().Config.RyukDisabled && !has("testcontainers/ryuk:"): // which removes what a killed test leaves
		return nil, fmt.Errorf("%w: testcontainers/ryuk, unless TESTCONTAINERS_RYUK_DISABLED=true", errPull)
	}
	return docker, nil
}

// contained is a server in a container.
type contained struct{ testcontainers.Container }

// Stop ends the server in order, and within ten seconds in any case.
func (c contained) Stop() error { return c.within(10 * time.Second) }

// Kill ends the server without waiting for an orderly end.
func (c contained) Kill() error { return c.within(0) }

func (c contained) within(limit time.Duration) error {
	return c.Container.Stop(context.Background(), &limit)
}
