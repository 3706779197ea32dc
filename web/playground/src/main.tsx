import { render } from "preact";
import { App } from "./app.js";
import { live, loadModels, restore, send, stopAll } from "./state.js";
import "./style.css";

addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    send();
  } else if (event.key === "Escape" && live.value) {
    event.preventDefault();
    stopAll();
  }
});

restore();
render(<App />, document.getElementById("app") as HTMLElement);
void loadModels();
