"""What environments give: task families, lanes of episodes, and the rollouts that are collected from them."""
