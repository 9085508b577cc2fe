"""The exports as Kubernetes has them, through the kubectl and the kubeconfig of the user."""
