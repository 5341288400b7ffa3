"""A pole on a cart: a network learns by trial to keep it upright, with a policy gradient (REINFORCE).

The network yields logits of two actions, push left or right, which are drawn at random. There are no targets, only what
came of it: an action is made more likely, or less, by how much longer than usual the pole stayed up after it. That is a
loss of one's own, so the loop is one's own too: forward, backward with its gradient, update.

R. J. Williams, Simple statistical gradient-following algorithms for connectionist reinforcement learning (1992). The
cart is that of A. G. Barto, R. S. Sutton, C. W. Anderson, Neuronlike adaptive elements (1983).
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from nncore import Adam, Layer, NeuralNetwork, softmax
from nncore.plotting import plot_loss

MAX_STEPS = 200  # of 0.02 s


def move(state, right):
    """The carts after one step; state (n_carts, 4): position, speed, angle of the pole from the vertical, its speed."""
    _, v, angle, spin = state.T
    force = np.where(right, 10.0, -10.0)  # newton, on a cart of 1 kg with a pole of 0.1 kg and 2 x 0.5 m
    push = (force + 0.05 * spin**2 * np.sin(angle)) / 1.1
    spin_up = (9.8 * np.sin(angle) - np.cos(angle) * push) / (0.5 * (4 / 3 - 0.1 * np.cos(angle) ** 2 / 1.1))
    speed_up = push - 0.05 * spin_up * np.cos(angle) / 1.1
    return state + 0.02 * np.stack([v, speed_up, spin, spin_up], axis=1)


def play(net, rng, n_carts):
    """Let carts run until each has failed; returns states (n_steps, n_carts, 4), actions, and who was still running."""
    state, running = rng.uniform(-0.05, 0.05, (n_carts, 4)), np.ones(n_carts, bool)
    states, actions, alive = [], [], []
    while running.any() and len(states) < MAX_STEPS:
        right = rng.random(n_carts) < softmax(net.predict(state))[:, 1]
        states.append(state)
        actions.append(right.astype(int))
        alive.append(running)
        state = move(state, right)
        running = running & (abs(state[:, 0]) < 2.4) & (abs(state[:, 2]) < np.radians(12))
    return np.array(states), np.array(actions), np.array(alive)


def learn(net, optimizer, states, actions, alive):
    """One update with all that happened."""
    # the reward of an action is the steps still to come, each counting 1 % less than the one before
    rewards, to_come = np.zeros(alive.shape), np.zeros(alive.shape[1])
    for step in range(len(alive) - 1, -1, -1):
        to_come = alive[step] * (1 + 0.99 * to_come)
        rewards[step] = to_come
    x, action, reward = states[alive], actions[alive], rewards[alive]
    advantage = (reward - reward.mean()) / (reward.std() + 1e-8)
    # the loss is -advantage * log(probability of the action), whose gradient by the logits is this
    dy = (softmax(net.forward(x)) - np.eye(2)[action]) * advantage[:, None] / len(x)
    grads, _ = net.backward(dy)
    optimizer.update(net.params, grads)


def main(out: Path, updates: int) -> None:
    """Train, print how long poles stay up, draw the curve and the last episodes."""
    rng = np.random.default_rng(0)
    net = NeuralNetwork([Layer(4, 32, "tanh", init="xavier"), Layer(32, 2, init="xavier")], rng=0)
    optimizer = Adam(lr=0.01)
    steps = []
    for update in range(updates):
        states, actions, alive = play(net, rng, n_carts=20)
        learn(net, optimizer, states, actions, alive)
        steps.append(alive.sum() / alive.shape[1])
        if update % 10 == 0:
            print(f"update {update}: poles stay up for {steps[-1]:.0f} steps")
    states, _, alive = play(net, rng, n_carts=100)
    print(f"100 new poles: {alive.sum() / 100:.0f} of {MAX_STEPS} steps, {alive[-1].mean():.0%} to the end")

    out.mkdir(parents=True, exist_ok=True)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    plot_loss(steps, left, window=1).set(xlabel="update", ylabel="steps that poles stay up", yscale="linear")
    right.plot(0.02 * np.arange(len(states)), np.degrees(np.where(alive, states[..., 2], np.nan))[:, :10])
    right.set(xlabel="seconds", ylabel="angle of the pole in degrees", title="10 poles, after training")
    figure.savefig(out / "policy_gradient.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=".", help="folder for the picture")
    parser.add_argument("--updates", type=int, default=100, help="of the network, with 20 episodes each")
    main(**vars(parser.parse_args()))
