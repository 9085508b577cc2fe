// The local cluster's policy engine: kube-router's controller of NetworkPolicies and nothing else
// of it. It enforces them until its standard input ends, and then takes away what it has made.
// With no input at all it takes away what another one left.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/cloudnativelabs/kube-router/v2/pkg/controllers/netpol"
	"github.com/cloudnativelabs/kube-router/v2/pkg/healthcheck"
	"github.com/cloudnativelabs/kube-router/v2/pkg/options"
	"github.com/cloudnativelabs/kube-router/v2/pkg/utils"
	core "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const setsInUse = 10 * time.Second

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: policy KUBECONFIG NODE SERVICE_RANGE")
		os.Exit(2)
	}
	if err := enforce(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func enforce(kubeconfig, node, serviceRange string) error {
	access, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(access)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	config := options.NewKubeRouterConfig()
	config.EnableIPv4 = true
	config.HostnameOverride = node
	config.ClusterIPCIDRs = []string{serviceRange}
	tables, sets, err := netpol.NewIPTablesHandlers(config)
	if err != nil {
		return err
	}
	newController := func() (*netpol.NetworkPolicyController, error) {
		return netpol.NewNetworkPolicyController(
			client, config, factory.Core().V1().Pods().Informer(),
			factory.Networking().V1().NetworkPolicies().Informer(),
			factory.Core().V1().Namespaces().Informer(), &sync.Mutex{}, tables, sets)
	}
	controller, err := newController()
	if err != nil {
		return err
	}
	// One that has worked remembers the table as it was, and would add what is there to that.
	cleaner, err := newController()
	if err != nil {
		return err
	}
	if err := follow(factory, controller); err != nil {
		return err
	}
	stop := make(chan struct{})
	factory.Start(stop)
	factory.WaitForCacheSync(stop)

	var running sync.WaitGroup
	running.Add(1)
	heartbeats := make(chan *healthcheck.ControllerHeartbeat)
	go controller.Run(heartbeats, stop, &running)
	go func() {
		// One comes at the beginning of each synchronization: at the second, the first is done.
		<-heartbeats
		controller.RequestFullSync()
		<-heartbeats
		fmt.Println("enforcing")
		for range heartbeats {
		}
	}()
	_, err = io.Copy(io.Discard, os.Stdin)
	close(stop)
	running.Wait()
	cleaner.Cleanup()
	return errors.Join(err, destroySets(sets[core.IPv4Protocol]))
}

func follow(factory informers.SharedInformerFactory, c *netpol.NetworkPolicyController) error {
	for informer, handler := range map[cache.SharedIndexInformer]cache.ResourceEventHandler{
		factory.Core().V1().Pods().Informer():                  c.PodEventHandler,
		factory.Core().V1().Namespaces().Informer():            c.NamespaceEventHandler,
		factory.Networking().V1().NetworkPolicies().Informer(): c.NetworkPolicyEventHandler,
	} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	return nil
}

// destroySets destroys what Cleanup leaves: the kernel lets go of a set some time after the rule
// that named it, and Cleanup gives up at the first that is still in use.
func destroySets(sets utils.IPSetHandler) error {
	deadline := time.Now().Add(setsInUse)
	for {
		if err := sets.Save(); err != nil {
			return err
		}
		var failure error
		for _, set := range sets.Sets() {
			if strings.HasPrefix(set.Name, "KUBE-SRC-") || strings.HasPrefix(set.Name, "KUBE-DST-") {
				failure = errors.Join(failure, set.Destroy())
			}
		}
		if failure == nil || time.Now().After(deadline) {
			return failure
		}
		time.Sleep(50 * time.Millisecond)
	}
}
