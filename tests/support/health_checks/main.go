// Says what kstatus, Argo CD and Flux make of resources.
//
// It reads one JSON object from its standard input, and prints a list with one verdict for each of
// `resources`. `argo` has Argo CD's scripts and `flux` Flux's expressions, each by kind.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/fluxcd/pkg/apis/kustomize"
	fluxcel "github.com/fluxcd/pkg/runtime/cel"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

type question struct {
	Argo      map[string]string                           `json:"argo"`
	Flux      map[string]kustomize.HealthCheckExpressions `json:"flux"`
	Resources []json.RawMessage                           `json:"resources"`
}

type verdict struct {
	Kstatus        string `json:"kstatus"`
	KstatusMessage string `json:"kstatusMessage"`
	Argo           string `json:"argo"`
	ArgoMessage    string `json:"argoMessage"`
	Flux           string `json:"flux"`
	// An error of the expression is no verdict: Flux goes on waiting then.
	FluxError string `json:"fluxError"`
}

func main() {
	var asked question
	reader := json.NewDecoder(os.Stdin)
	reader.DisallowUnknownFields()
	must(reader.Decode(&asked))
	verdicts := []verdict{}
	for _, raw := range asked.Resources {
		resource := &unstructured.Unstructured{}
		// As of the API server: whole numbers are int64.
		must(resource.UnmarshalJSON(raw))
		verdicts = append(verdicts, judge(asked, resource))
	}
	must(json.NewEncoder(os.Stdout).Encode(verdicts))
}

func judge(asked question, resource *unstructured.Unstructured) verdict {
	computed, err := status.Compute(resource)
	must(err)
	said := verdict{Kstatus: string(computed.Status), KstatusMessage: computed.Message}
	said.Argo, said.ArgoMessage = askArgo(asked.Argo[resource.GetKind()], resource)

	expressions := asked.Flux[resource.GetKind()]
	evaluator, err := fluxcel.NewStatusEvaluator(&expressions)
	must(err)
	evaluated, err := evaluator.Evaluate(context.Background(), resource)
	if err != nil {
		said.FluxError = err.Error()
	} else {
		said.Flux = string(evaluated.Status)
	}
	return said
}

// Argo CD's own module brings half of Kubernetes along. Here is its interpreter, with the libraries
// that it opens for scripts from argocd-cm (all but its own os, which ours don't need), with the
// resource as `obj`, and a table with `status` and `message` as the result:
// https://github.com/argoproj/argo-cd/blob/master/util/lua/lua.go
func askArgo(script string, resource *unstructured.Unstructured) (string, string) {
	machine := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer machine.Close()
	libraries := map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage,
		lua.BaseLibName: lua.OpenBase,
		lua.TabLibName:  lua.OpenTable,
	}
	for _, name := range []string{lua.LoadLibName, lua.BaseLibName, lua.TabLibName} {
		open := lua.P{Fn: machine.NewFunction(libraries[name]), Protect: true}
		must(machine.CallByParam(open, lua.LString(name)))
	}
	machine.SetGlobal("obj", asLua(machine, resource.Object))
	must(machine.DoString(script))
	answer, ok := machine.Get(-1).(*lua.LTable)
	if !ok {
		must(fmt.Errorf("the script returned %s, and not a table", machine.Get(-1).Type()))
	}
	message := answer.RawGetString("message")
	if message == lua.LNil {
		message = lua.LString("")
	}
	return answer.RawGetString("status").String(), message.String()
}

func asLua(machine *lua.LState, value any) lua.LValue {
	switch of := value.(type) {
	case bool:
		return lua.LBool(of)
	case string:
		return lua.LString(of)
	case int64:
		return lua.LNumber(of)
	case float64:
		return lua.LNumber(of)
	case []any:
		list := machine.NewTable()
		for _, item := range of {
			list.Append(asLua(machine, item))
		}
		return list
	case map[string]any:
		table := machine.NewTable()
		for key, item := range of {
			table.RawSetString(key, asLua(machine, item))
		}
		return table
	}
	return lua.LNil
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
