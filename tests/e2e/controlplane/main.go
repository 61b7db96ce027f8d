// Command hyperkube is every process of a test cluster in one executable: Kubernetes' control plane, etcd and
// kubectl share most of their packages, so one link costs a third of five and the file is cached as one.
//
// The component is the name the executable was started by, or else its first argument:
// `hyperkube kube-apiserver --etcd-servers …`. `hyperkube mcs-crds` prints the Multi-Cluster Services CRDs of the
// sigs.k8s.io/mcs-api version in go.mod, so that tests run against the real definitions.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	mcs "sigs.k8s.io/mcs-api/config/crd"

	// These register the log format and the client metrics that the upstream main packages register.
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
)

// components maps a name to what runs it. Each function reads os.Args and returns the exit code.
var components = map[string]func() int{
	"etcd":                    runEtcd,
	"kube-apiserver":          runCobra(apiserver.NewAPIServerCommand),
	"kube-controller-manager": runCobra(controllers.NewControllerManagerCommand),
	"kubectl":                 runCobra(kubectl.NewDefaultKubectlCommand),
	"mcs-crds":                printMcsCrds,
}

func main() {
	os.Exit(run(os.Args))
}

func run(args []string) int {
	if component, ok := components[filepath.Base(args[0])]; ok {
		return component()
	}
	if len(args) > 1 {
		if component, ok := components[args[1]]; ok {
			os.Args = args[1:]
			return component()
		}
	}
	fmt.Fprintf(os.Stderr, "usage: hyperkube <component> [flags]; components: %s\n", strings.Join(names(), ", "))
	return 2
}

func names() []string {
	all := make([]string, 0, len(components))
	for name := range components {
		all = append(all, name)
	}
	sort.Strings(all)
	return all
}

// runEtcd never returns unless etcd was asked to stop; etcdmain calls os.Exit with its own code on errors.
func runEtcd() int {
	etcdmain.Main(os.Args)
	return 0
}

func runCobra(build func() *cobra.Command) func() int {
	return func() int { return cli.Run(build()) }
}

func printMcsCrds() int {
	for _, crd := range [][]byte{mcs.ServiceExportCRD, mcs.ServiceImportCRD} {
		fmt.Printf("---\n%s\n", crd)
	}
	return 0
}
